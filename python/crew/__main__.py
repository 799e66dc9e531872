"""python -m crew run SOURCE NAME ARGUMENTS: what crewd starts for crew.Process(target=...)."""

import sys

from . import target


def main() -> int:
    if len(sys.argv) != 5 or sys.argv[1] != "run":
        print("usage: python -m crew run SOURCE NAME ARGUMENTS", file=sys.stderr)
        return 2
    source, name, arguments = sys.argv[2:]
    sys.argv[:] = [source]
    return target.run(source, name, arguments)


if __name__ == "__main__":
    sys.exit(main())
