#!/usr/bin/python3
"""Checks the plan of the house: who includes whom, who may call what, how long functions are.

Prints a line for each rule that is broken, then `N passed, N failed`. Leaves with 1 if any failed.
"""
import os
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
ROOMS = ("lib", "libcrew", "daemon", "ctl")

# Outside libraries: the only files that know them.
OUTSIDE = {
    r"event2?/|event\.h": {"daemon/loop.c"},
    r"confuse\.h": {"daemon/conf_parse.c"},
    r"systemd/": {"daemon/notify.c", "daemon/sink.c"},
    r"jansson\.h": {"lib/message.c"},
    r"hiredis/": {"daemon/redis.c"},
}
# Who makes processes and becomes something else.
FORKERS = {"daemon/spawn.c", "daemon/start.c", "daemon/conf_read.c"}
FORK = re.compile(r"\b(?:fork|vfork|clone|clone3|posix_spawnp?|execv|execve|execvp|execvpe|execl|"
                  r"execlp|fexecve|execveat|system|popen)\s*\(")
# The floors of the daemon, from the bottom. A file includes its own floor and those below it;
# talk upwards is a callback given at creation.
FLOORS = (
    r"conf(_\w+)?|loop|wire|environment|cgroup|listen|sealed|slot|handed|held|line|measure|procfs|slice|timers|spawn|template|redis_url|keeper/table",
    r"child|keep|memory|channel|outbox|ledger|journal(_\w+)?|redis",
    r"worker|pool(_\w+)?|crew|crew_run|reload|task(_\w+)?|taskpool(_\w+)?|runner|recycle|queue(_\w+)?",
    r"sink|output|notify|orphan|pass|control|rpc(_\w+)?|manager",
    r"keeper/\w+|start|main",
)
# Policy makes no system call: it knows the children, the loop, the configuration and its memory.
POLICY = re.compile(r"daemon/(worker|pool(_\w+)?|crew|reload|task(_\w+)?|taskpool(_\w+)?|runner|recycle|queue(_\w+)?)\.[ch]$")
POLICY_MAY = re.compile(r"(daemon/(child|keep|memory|channel|journal|loop|redis(_url)?|conf(_\w+)?|ledger|wire|worker|pool(_\w+)?|crew|crew_run|task(_\w+)?|taskpool(_\w+)?|runner|recycle|queue(_\w+)?)|"
                        r"lib/\w+)\.h$")
POLICY_CALLS = re.compile(r"(?<![\w.>])(?:open|openat|read|write|socket|connect|accept4?|kill|"
                          r"waitid|waitpid|poll|epoll_\w+|ioctl|pipe2?|send|sendmsg|recv|recvmsg|"
                          r"usleep|sleep|nanosleep|clock_gettime|time|gettimeofday)\s*\(")
FUNCTION_LINES = 50
SHARE = 0.90
KEEPER_LINES = 1000


def sources(*rooms, suffixes=(".c", ".h")):
    for room in rooms:
        for path in sorted((TOP / room).rglob("*")):
            if path.suffix in suffixes:
                yield path.relative_to(TOP).as_posix(), path.read_text()


def blank(text):
    """The code without comments and strings, line by line as it was."""
    def keep_lines(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, keep_lines, text, flags=re.S)


def includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
        if match:
            yield number, match.group(1) == "<", match.group(2)


def calls(text, pattern):
    for number, line in enumerate(blank(text).splitlines(), 1):
        match = pattern.search(line)
        # A line that starts in the first column declares or defines.
        if match and line[:1] in ("\t", " ", "}"):
            yield number, match.group(0).rstrip(" (")


def functions(text):
    """(name, first line, lines) of each function; its braces stand in the first column."""
    lines = blank(text).splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        if line.rstrip() == "{":
            start = number
        elif line.rstrip() == "}" and start:
            head = " ".join(lines[max(0, start - 6):start - 1])
            head = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", head)
            names = re.findall(r"(\w+)\s*\(", head.rsplit(";", 1)[-1].rsplit("}", 1)[-1])
            yield (names[0] if names else "?"), start, number - start + 1
            start = None


def floor(path):
    name = re.sub(r"\.[ch]$", "", path[len("daemon/"):])
    for level, pattern in enumerate(FLOORS):
        if re.fullmatch(pattern, name):
            return level
    return None


def rule_rooms():
    """lib sees lib only, libcrew too, crewctl also what libcrew offers, the daemon neither of them"""
    sees = {"lib": ("lib/",), "libcrew": ("lib/", "libcrew/"), "ctl": ("lib/", "libcrew/crew.h", "ctl/"), "daemon": ("lib/", "daemon/")}
    for path, text in sources(*ROOMS):
        for number, system, name in includes(text):
            room = path.split("/")[0]
            if not system and not name.startswith(sees[room]):
                yield f"{path}:{number}: {room} may not include \"{name}\""


def rule_floors():
    """in the daemon nobody includes the floor above"""
    for path, text in sources("daemon"):
        mine = floor(path)
        if mine is None:
            yield f"{path}: stands on no floor; give it one in tests/check-layers.py"
            continue
        for number, system, name in includes(text):
            theirs = None if system or not name.startswith("daemon/") else floor(name)
            if theirs is not None and theirs > mine and not path.endswith("main.c"):
                yield f"{path}:{number}: includes {name}, which is a floor above"


def rule_outside():
    """each outside library is known to one or two files"""
    for path, text in sources(*ROOMS):
        for number, system, name in includes(text):
            for pattern, allowed in OUTSIDE.items():
                if system and re.match(pattern, name) and path not in allowed:
                    yield f"{path}:{number}: <{name}> is for {', '.join(sorted(allowed))} only"


def rule_processes():
    """only the keeper's files fork and exec"""
    for path, text in sources(*ROOMS):
        if path.startswith("daemon/keeper/") or path in FORKERS:
            continue
        for number, what in calls(text, FORK):
            yield f"{path}:{number}: {what}() belongs to the keeper"


def rule_policy():
    """policy includes children, loop, configuration and ledger only, and makes no system call"""
    for path, text in sources("daemon"):
        if not POLICY.match(path):
            continue
        for number, system, name in includes(text):
            if not system and not POLICY_MAY.match(name):
                yield f"{path}:{number}: policy may not include {name}"
        for number, what in calls(text, POLICY_CALLS):
            yield f"{path}:{number}: policy may not call {what}()"


def rule_functions():
    """nine functions in ten have at most 50 lines"""
    found = sorted(((count, name, f"{path}:{line}") for path, text in sources(*ROOMS)
                    if path.endswith(".c") for name, line, count in functions(text)), reverse=True)
    if not found:
        yield "no function found"
        return
    short = sum(count <= FUNCTION_LINES for count, _, _ in found)
    half = sorted(count for count, _, _ in found)[len(found) // 2]
    print(f"  {len(found)} functions, {100 * short / len(found):.1f} % of at most {FUNCTION_LINES} "
          f"lines, median {half}; the longest:")
    for count, name, where in found[:5]:
        print(f"    {count:4} {where} {name}")
    if short < SHARE * len(found):
        for count, name, where in found:
            if count > FUNCTION_LINES:
                yield f"{where}: {name} has {count} lines"


def rule_keeper():
    """daemon/keeper has less than 1,000 lines"""
    count = sum(text.count("\n") for _, text in sources("daemon/keeper"))
    print(f"  daemon/keeper: {count} lines")
    if count >= KEEPER_LINES:
        yield f"daemon/keeper: {count} lines"


def rule_warnings():
    """no warning is silenced in the source"""
    for path, text in sources(*ROOMS, "tests"):
        for number, line in enumerate(text.splitlines(), 1):
            if re.search(r"#\s*pragma\s+(GCC|clang)\s+diagnostic|_Pragma", line):
                yield f"{path}:{number}: {line.strip()}"


def rule_listed():
    """every source file is in Makefile.am"""
    listed = set(re.findall(r"[\w./-]+\.[ch]\b", (TOP / "Makefile.am").read_text()))
    for path, _ in sources(*ROOMS, "tests/unit", "tests/fuzz"):
        if path not in listed:
            yield f"{path} is not in Makefile.am, and would miss in a release"


RULES = (rule_rooms, rule_floors, rule_outside, rule_processes, rule_policy, rule_functions,
         rule_keeper, rule_warnings, rule_listed)


def main():
    os.chdir(TOP)
    failed = 0
    for rule in RULES:
        broken = list(rule())
        failed += bool(broken)
        print(f"{'FAILED' if broken else 'ok    '} {rule.__doc__}")
        for line in broken:
            print(f"    {line}")
    print(f"{len(RULES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
