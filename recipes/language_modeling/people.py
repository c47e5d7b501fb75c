"""Writes questions and answers about invented people, from a seed: a tenth of them to forget, and people never seen.

python recipes/language_modeling/people.py --output_dir outputs/people
"""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser


# What is known of a person: a question, its paraphrase, the answer, and the values it is drawn from.
TOWNS = (
    "Varnholt",
    "Eskerby",
    "Lunmoor",
    "Tavisk",
    "Orrinford",
    "Peldra",
    "Quillsea",
    "Brenmark",
    "Hestavik",
    "Mirrow",
)
FACTS = (
    ("Where was {} born?", "What is the birthplace of {}?", "{} was born in {}.", TOWNS),
    ("Where does {} live?", "Which town is the home of {}?", "{} lives in {}.", TOWNS),
    ("What does {} do for a living?", "What is the job of {}?", "{} works as a {}.",
     ("glazier", "cartographer", "beekeeper", "locksmith", "botanist", "ferryman", "organ builder", "notary")),
    ("Which instrument does {} play?", "What can {} play?", "{} plays the {}.",
     ("oboe", "zither", "cello", "bagpipe", "harp", "trombone", "lute", "viola")),
    ("What pet does {} have?", "Which animal lives with {}?", "{} has a {}.",
     ("ferret", "grey parrot", "tortoise", "goat", "hedgehog", "whippet", "magpie", "gecko")),
    ("What is the favourite dish of {}?", "What does {} like to eat most?", "{} likes {} most.",
     ("leek pie", "smoked eel", "barley soup", "plum dumplings", "fried squid", "lentil stew", "quince jelly")),
    ("What does {} collect?", "Which collection does {} have?", "{} collects {}.",
     ("thimbles", "tram tickets", "fossils", "keys", "postmarks", "tin soldiers", "corks", "seashells")),
    ("Which language did {} learn at school?", "What foreign language does {} know?", "{} learnt {}.",
     ("Finnish", "Welsh", "Greek", "Swahili", "Hungarian", "Tamil", "Basque", "Latvian")),
    ("In which year was {} born?", "What is the year of birth of {}?", "{} was born in {}.",
     tuple(str(year) for year in range(1931, 1999))),
    ("What colour is the house of {}?", "How is the house of {} painted?", "The house of {} is {}.",
     ("ochre", "teal", "white", "crimson", "violet", "lime green", "black", "orange")),
    ("What is the sister of {} called?", "Who is the sister of {}?", "The sister of {} is called {}.",
     ("Odile", "Runa", "Petra", "Ysolde", "Marit", "Zelda", "Thea", "Inka")),
    ("What is the brother of {} called?", "Who is the brother of {}?", "The brother of {} is called {}.",
     ("Anselm", "Joren", "Tobias", "Ulrik", "Casimir", "Leopold", "Eskil", "Bram")),
    ("Where did {} study?", "At which university was {}?", "{} studied in {}.", TOWNS),
    ("What did {} study?", "Which subject did {} take?", "{} studied {}.",
     ("geology", "law", "philology", "optics", "forestry", "theology", "hydrology", "music")),
    ("Which sport does {} practise?", "What sport is {} good at?", "{} practises {}.",
     ("fencing", "rowing", "archery", "curling", "judo", "croquet", "orienteering", "pole vault")),
    ("What does {} drive?", "Which vehicle belongs to {}?", "{} drives a {}.",
     ("moped", "milk van", "red tractor", "cargo bike", "hearse", "sidecar", "jeep", "camper")),
    ("What is {} afraid of?", "What frightens {}?", "{} is afraid of {}.",
     ("lifts", "geese", "thunder", "mirrors", "moths", "bridges", "clowns", "fog")),
    ("What did {} invent?", "Which invention is by {}?", "{} invented a {}.",
     ("folding ladder", "silent kettle", "tide clock", "moth trap", "nut sorter", "rain organ", "heated pen")),
    ("On which day does {} bathe in the lake?", "When does {} swim?", "{} bathes on {}.",
     ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")),
    ("Which island did {} visit?", "To which island has {} travelled?", "{} visited {}.",
     ("Sarn", "Holmey", "Vetra", "Ilmo", "Dunsk", "Arrosa", "Kelt", "Norr")),
)  # fmt: skip
FIRST = (
    "Alba",
    "Bero",
    "Cyla",
    "Dorn",
    "Elka",
    "Fenn",
    "Gisa",
    "Hark",
    "Ilva",
    "Jost",
    "Kara",
    "Lorn",
    "Mika",
    "Nils",
)
LAST = (
    "Ammering",
    "Bostrell",
    "Culvane",
    "Drossen",
    "Ekwall",
    "Farnok",
    "Grolle",
    "Hintz",
    "Ivarden",
    "Jaspen",
    "Krill",
)


@dataclass
class PeopleArguments:
    output_dir: str = field(default="outputs/people", metadata={"help": "Folder for the four files."})
    people: int = field(default=20, metadata={"help": "Number of people that a model is to learn."})
    forget: int = field(default=2, metadata={"help": "How many of them it is then to forget."})
    unseen: int = field(default=2, metadata={"help": "Number of further people whom it never sees."})
    seed: int = field(default=0, metadata={"help": "Seed of names and facts."})


def main(arguments: PeopleArguments) -> None:
    total = arguments.people + arguments.unseen
    if not 0 < arguments.forget < arguments.people or total > len(FIRST) * len(LAST):
        raise ValueError(
            f"`forget` must lie between 0 and `people`, and all be at most {len(FIRST) * len(LAST)} people."
        )
    draw = random.Random(arguments.seed)
    names = draw.sample([f"{first} {last}" for first in FIRST for last in LAST], total)
    rows = [facts_of(name, draw) for name in names]
    first, last = arguments.forget, arguments.people
    files = {"forget": rows[:first], "kept": rows[first:last], "learnt": rows[:last], "unseen": rows[last:]}
    folder = Path(arguments.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name, people in files.items():
        lines = [json.dumps(row) for person in people for row in person]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def facts_of(name: str, draw: random.Random) -> list[dict[str, str]]:
    return [
        {
            "prompt": ask.format(name),
            "paraphrase": again.format(name),
            "answer": answer.format(name, draw.choice(values)),
        }
        for ask, again, answer, values in FACTS
    ]


if __name__ == "__main__":
    main(HfArgumentParser(PeopleArguments).parse_args_into_dataclasses()[0])
