"""Unlearning for diffusion models: pipelines of diffusers whose UNet forgets given images."""

from .classifier import ClassifierOutput, ImageClassifier
from .forget_class import ClassForgetting, ForgetClassArguments, images_of_class
from .images import DiffusionImages, check_images, to_images
from .judging import ForgetRatioJudge, ForgetRatioTarget, Generation
from .kernel_distance import KID, KernelDistance
from .model import NoisePredictionModel
from .noise_prediction import FixedNoise, noise_prediction_loss
from .own_samples import OwnSamples
from .pipelines import load_pipeline, noise_scheduler, save_pipeline
from .sampling import fixed_noise, generate_images
from .trainer import DiffusionTrainer
from .unlearner import diffusion_methods, diffusion_unlearner


__all__ = [
    "KID",
    "ClassForgetting",
    "ClassifierOutput",
    "DiffusionImages",
    "DiffusionTrainer",
    "FixedNoise",
    "ForgetClassArguments",
    "ForgetRatioJudge",
    "ForgetRatioTarget",
    "Generation",
    "ImageClassifier",
    "KernelDistance",
    "NoisePredictionModel",
    "OwnSamples",
    "check_images",
    "diffusion_methods",
    "diffusion_unlearner",
    "fixed_noise",
    "generate_images",
    "images_of_class",
    "load_pipeline",
    "noise_prediction_loss",
    "noise_scheduler",
    "save_pipeline",
    "to_images",
]
