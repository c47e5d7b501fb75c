"""Unlearning for diffusion models: pipelines of diffusers whose UNet forgets given images."""

from .classifier import ImageClassifier, Verdicts
from .forget_class import ClassForgetting, ForgetClassArguments, images_of_class
from .images import DiffusionImages, check_images, to_images
from .judging import ForgetRatioJudge, ForgetRatioTarget, Generation
from .kernel_distance import KID, KernelDistance
from .noise_prediction import FixedNoise, noise_prediction_loss
from .pipelines import load_pipeline, noise_scheduler, save_pipeline
from .sampling import NonFiniteImages, fixed_noise, generate_images
from .trainer import DiffusionTrainer, NoisePredictionTrainer
from .unlearner import (
    DIFFUSION_METHODS,
    DiffusionUnlearner,
    InvWNNDiffusionUnlearner,
    NegGradDiffusionUnlearner,
    TaskVectorDiffusionUnlearner,
)


__all__ = [
    "DIFFUSION_METHODS",
    "KID",
    "ClassForgetting",
    "DiffusionImages",
    "DiffusionTrainer",
    "DiffusionUnlearner",
    "FixedNoise",
    "ForgetClassArguments",
    "ForgetRatioJudge",
    "ForgetRatioTarget",
    "Generation",
    "ImageClassifier",
    "InvWNNDiffusionUnlearner",
    "KernelDistance",
    "NegGradDiffusionUnlearner",
    "NoisePredictionTrainer",
    "NonFiniteImages",
    "TaskVectorDiffusionUnlearner",
    "Verdicts",
    "check_images",
    "fixed_noise",
    "generate_images",
    "images_of_class",
    "load_pipeline",
    "noise_prediction_loss",
    "noise_scheduler",
    "save_pipeline",
    "to_images",
]
