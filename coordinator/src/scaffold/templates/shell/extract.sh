#!/bin/sh
# Counts the lines and words of a text file.
#
# metafleet-shim runs this once for each task: METAFLEET_FILE is the file, METAFLEET_SETTING_… are the settings, and what
# is printed as key=value is the metadata. Exit codes: 0 completed, 80 skipped, 81 later, 65 failed for good, any
# other one failed and is tried again. What stands on standard error says why.
set -eu
export LC_ALL=C.UTF-8

least=${METAFLEET_SETTING_MIN_WORD_LENGTH:-1}
# New settings: --check-settings asks whether they will do.
if [ "${METAFLEET_EVENT:-task}" = configure ]; then
    awk -v least="$least" 'BEGIN { exit !(least >= 1 && least <= 1000) }' && exit 0
    echo "minWordLength must be 1 to 1000" >&2
    exit 65
fi

if [ ! -s "$METAFLEET_FILE" ]; then
    echo "the file is empty" >&2
    exit 80
fi
if ! iconv -f UTF-8 -t UTF-8 "$METAFLEET_FILE" >/dev/null 2>&1; then
    echo "the file is not UTF-8 text" >&2
    exit 65
fi
# Not every awk knows characters: the bytes that begin one are counted.
LC_ALL=C awk -v least="$least" '
    { for (at = 1; at <= NF; at++) { word = $at; gsub(/[\200-\277]/, "", word); if (length(word) >= least) words++ } }
    END { printf "@ID@/lines=%d\n@ID@/words=%d\n", NR, words }
' "$METAFLEET_FILE"
