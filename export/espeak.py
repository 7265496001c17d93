"""Voices from espeak-ng, for those who have no recordings of speech at hand.

They are formant synthesis: they carry pitch, syllables and phonemes of many languages, and no
natural timbre, so a network adapted with them may lose a little on real voices.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tqdm import tqdm

from edgesep.errors import EdgesepError

PROGRAM = "espeak-ng"
VARIANTS = ("m1", "m3", "m5", "m7", "f1", "f2", "f4", "f5")
# Pitch (0..99) and words a minute, one pair for each variant.
MANNERS = ((35, 150), (50, 175), (25, 135), (60, 160), (55, 150), (70, 180), (45, 140), (80, 165))

TEXTS = {
    "en-us": "The kettle is on, so give me a minute. Which parcels came by the early post? "
    "We measured thirteen boxes, five jars and a rather heavy chest. Please shut the window before "
    "the rain gets in. Judging by the light it must be almost four. Could you turn that down?",
    "en-gb": "She sells fresh fish near the bridge every Thursday. Nobody knew why the engine had "
    "stopped. My brother would rather walk than wait for a bus. Take the second road on the left, "
    "then ask again. The view over the valley was worth the climb.",
    "de": "Heute Morgen war die Straße vor dem Haus gesperrt. Kannst du bitte das Fenster "
    "schließen? Zwölf Boote liegen im Hafen und warten auf Wind. Ich möchte noch einen Kaffee "
    "und ein Stück Kuchen. Übermorgen fahren wir mit dem Zug nach Süden.",
    "fr": "Le boulanger ouvre sa boutique à six heures du matin. Où as-tu rangé les clés de la "
    "voiture? Nous avons marché longtemps sous une pluie fine. Il faut appeler le médecin avant "
    "jeudi. Les enfants jouent dans le jardin derrière la maison.",
    "es": "El tren sale a las ocho y media desde el andén cinco. ¿Quieres que compremos pan y "
    "queso? Mañana lloverá en toda la costa norte. Mi abuela guarda las cartas en una caja roja. "
    "No encuentro las gafas que dejé sobre la mesa.",
    "nl": "De fiets staat al een week in de schuur. Wil je straks nog even langs de winkel gaan? "
    "Er vliegen ganzen over het water. Morgen begint de vergadering om kwart over negen. Ik heb "
    "het boek gisteren uitgelezen.",
    "it": "La chiave della cantina è appesa dietro la porta. Domani partiamo presto per le "
    "montagne. Quanto costa il biglietto per due persone? Il gatto dorme sempre sulla stessa "
    "sedia. Abbiamo cenato tardi e parlato fino a mezzanotte.",
}


def synthesize(folder: Path) -> Path:
    """Speak every text with every variant into FOLDER/LANGUAGE-VARIANT/; return the folder.

    Raises EdgesepError where espeak-ng is missing or fails.
    """
    if shutil.which(PROGRAM) is None:
        raise EdgesepError(
            f"--speech {PROGRAM}: the program is not installed: apt install {PROGRAM}, "
            "or give a folder of clean speech"
        )
    jobs = [(language, number) for language in TEXTS for number in range(len(VARIANTS))]
    for language, number in tqdm(jobs, desc="speaking", unit="voice", disable=None, leave=False):
        voice = f"{language}+{VARIANTS[number]}"
        for take, sentences in enumerate(_halves(TEXTS[language])):
            path = folder / f"{language}-{VARIANTS[number]}" / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            pitch, speed = MANNERS[number]
            _speak(voice, pitch, speed, sentences, path)
    return folder


def _halves(text: str) -> tuple[str, str]:
    sentences = text.split(". ")
    middle = len(sentences) // 2
    return ". ".join(sentences[:middle]) + ".", ". ".join(sentences[middle:])


def _speak(voice: str, pitch: int, speed: int, text: str, path: Path) -> None:
    command = [PROGRAM, "-v", voice, "-p", str(pitch), "-s", str(speed), "-w", str(path), text]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode or not path.exists():
        lines = result.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"exit status {result.returncode}"
        raise EdgesepError(f"{PROGRAM} -v {voice}: {reason}: install it again with its voices")
