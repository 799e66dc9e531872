"""What is written about the programs says what they do."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from conftest import CREWCTL

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
MANUALS = ["daemon/crewd.8", "ctl/crewctl.1", "conf/crewd.conf.5", "conf/crewd-template.7", "libcrew/libcrew.3",
           "libcrew/crew_client.3", "libcrew/crew_queue.3", "libcrew/crew_worker.3"]
COMPLETIONS = ["ctl/completions/crewctl.bash", "ctl/completions/_crewctl", "ctl/completions/crewctl.fish"]


def verbs():
    text = subprocess.run([CREWCTL, "--help"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^  ([a-z][a-z-]+(?: [a-z-]+)?) ", text, re.M)
    assert len(found) >= 15
    return found


def options(verb):
    text = subprocess.run([CREWCTL, "help", *verb.split()], capture_output=True, text=True, check=True).stdout
    return re.findall(r"--([a-z-]{2,})", text.splitlines()[0])


@pytest.mark.parametrize("manual", MANUALS)
def test_manual_is_well_formed(manual):
    if not shutil.which("man"):
        pytest.skip("man is not installed")
    done = subprocess.run(["man", "--warnings", "-l", TOP / manual], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) > 1000


def test_template_of_the_manual_is_the_example():
    text = (TOP / "conf/crewd-template.7").read_text()
    shown = re.search(r"^\.Bd -literal\n(.*?)^\.Ed$", text, re.M | re.S).group(1)
    example = (TOP / "conf/examples/template.py").read_text()
    assert shown.replace("\\e", "\\").replace("\\&", "") == example
    assert len(example.splitlines()) <= 60


def test_manual_has_every_verb_and_option():
    text = (TOP / "ctl/crewctl.1").read_text()
    for verb in verbs():
        entry = re.search(rf"^\.It Cm {verb}\b(.*)$", text, re.M)
        assert entry, verb
        for option in options(verb):
            assert f"Fl -{option}" in text, f"{verb} --{option}"


@pytest.mark.parametrize("file", COMPLETIONS)
def test_completion_has_every_verb_and_option(file):
    text = (TOP / file).read_text()
    for verb in verbs():
        for word in verb.split():
            assert re.search(rf"\b{word}\b", text), verb
        for option in options(verb):
            assert re.search(rf"(--|-l ){option}\b", text), f"{verb} --{option}"


def test_bash_completes_names_of_workers(crewd):
    crewd.start('pool "web" { command = {"sleep", "1000"} workers = 2 }')
    script = """
        source "$1"
        COMP_WORDS=(crewctl -s "$2" join w) COMP_CWORD=4
        _crewctl
        printf '%s\\n' "${COMPREPLY[@]}"
        COMP_WORDS=(crewctl terminate --no) COMP_CWORD=2
        _crewctl
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    env = dict(os.environ, PATH=f"{pathlib.Path(CREWCTL).parent}:{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", script, "bash", TOP / COMPLETIONS[0], crewd.socket], env=env,
                          capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["web", "web-1", "web-2", "--no-wait"]
