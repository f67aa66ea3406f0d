"""What a search costs in few and in many rows: lists and the search over everything, in one run.

    python -m bench.search [--rows 10000,100000,1000000] [--requests 15]

CPU of one page, the median of the requests, as in `bench.console`. A million rows fill a file of some 3 GB, which takes
minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from bench.console import LISTS, our_site
from bench.console_rows import COMMON, RARE
from bench.console_site import Site, measure, wide

TEXTS = {"rare": RARE, "two letters, rare": RARE[1:3], "number": "4999号", "common": COMMON, "absent": "杳无此名"}


def pages() -> dict[str, str]:
    """What is asked for, and its address."""
    found = {
        f"{name} {kind}": f"/{LISTS[name][0]}/list/?q={quote(text)}" for name in LISTS for kind, text in TEXTS.items()
    }
    found["小程序 名称包含"] = f"/{LISTS['小程序'][0]}/list/?name={quote(RARE)}"
    found |= {f"over everything, {kind}": f"/palette/search?q={quote(text)}" for kind, text in TEXTS.items()}
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--requests", type=int, default=15)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="douzhou-search-") as folder:
        sizes = [int(size) for size in options.rows.split(",")]
        sites: list[Site] = [our_site(Path(folder), size)[1] for size in sizes]
        print(" ".join([f"{'':28}", *(f"{f'{size:,} rows':>18}" for size in sizes), f"{'growth':>8}"]))
        for title, address in pages().items():
            spent = [taken.cpu for taken in measure(sites, [address] * len(sites), options.requests)]
            shown = " ".join(f"{took:15.1f} ms" for took in spent)
            print(f"{wide(title, 28)} {shown} {spent[-1] / spent[0]:8.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
