#!/bin/sh
# The message catalogues: texts gathered from app/, merged into each language's, compiled.
set -eu
cd "$(dirname "$0")/.."
folder=app/translations
if [ -z "$(find "$folder" -name '*.po' 2>/dev/null)" ]; then
  echo "还没有词条目录：控制台目前只有中文（no catalogues yet: the console is in Chinese only）。"
  exit 0
fi
"$BIN/pybabel" -q extract -F babel.cfg -k lazy_gettext -o "$folder/messages.pot" app
"$BIN/pybabel" -q update -N -i "$folder/messages.pot" -d "$folder"
"$BIN/pybabel" -q compile -d "$folder"
