#!/bin/sh
# Makes archives, lists them, and compares. The last line adds up; exit code 1 when something is wrong.
set -u
plugin=$PWD
for needed in zip unzip tar gzip xz; do
    command -v "$needed" >/dev/null || { echo "error: no program $needed: apt-get install zip unzip tar gzip xz-utils" >&2; exit 1; }
done
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
passed=0 failed=0

# list FILE: what the plugin says about it, and its exit code in $code.
list() {
    said=$(METAFLEET_EVENT=task METAFLEET_FILE=$1 "$plugin/list-archive" 2>"$work/words"); code=$?
    words=$(tail -n 1 "$work/words")
}
ok() { passed=$((passed + 1)); echo "ok   $1"; }
bad() { failed=$((failed + 1)); echo "FAIL $1"; printf '%s\n' "code $code" "$said" "$words" | head -c 2000 | sed 's/^/     /'; }
# has NAME LINE..: the listing went well and holds each line.
has() {
    name=$1; shift
    if [ "$code" -ne 0 ]; then bad "$name"; return; fi
    for line in "$@"; do
        printf '%s\n' "$said" | grep -qxF -e "$line" || { bad "$name: $line"; return; }
    done
    ok "$name"
}
# ends NAME CODE WORDS: it gives up with this code and these words.
ends() {
    if [ "$code" -eq "$2" ] && [ -z "$said" ] && printf '%s' "$words" | grep -q -e "$3"; then ok "$1"; else bad "$1"; fi
}

mkdir -p tree/docs tree/pictures
printf hello > tree/readme.TXT
printf 0123456789 > "tree/docs/a \"b\" é.md"
head -c 5000 /dev/zero > tree/pictures/p.jpg
ln -s readme.TXT tree/link
want='archive/files=3
archive/totalSize=5015
archive/largest=tree/pictures/p.jpg
archive/largestSize=5000
archive/topFolders=tree
archive/extensions=txt
archive/extensions=md
archive/extensions=jpg'
IFS='
'
zip -qry tree.zip tree && list "$work/tree.zip"
has zip archive/format=zip archive/entries=7 archive/folders=3 $want
for packed in tar:tar tgz:tar:gzip txz:tar:xz tbz2:tar:bzip2 tzst:tar:zstd; do
    program=${packed##*:} suffix=${packed%%:*}
    command -v "$program" >/dev/null || { echo "     no $program here"; continue; }
    if [ "$program" = tar ]; then tar -cf tree.tar tree; else tar -cf - tree | "$program" -c > "tree.$suffix"; fi
    list "$work/tree.$suffix"
    has "$suffix" archive/format=tar archive/entries=7 archive/folders=3 $want
done
for program in 7zz 7z; do
    command -v "$program" >/dev/null || continue
    "$program" a -bd -y -snl tree.7z tree >/dev/null && list "$work/tree.7z"
    has "$program" archive/format=7z $want
    break
done

list "$work/tree.zip"
printf '%s\n' "$said" | grep -q 'a \\"b\\" é.md","size":10}' && ok "names are JSON" || bad "names are JSON"
mkdir 'odd [x]* -é:1' && cp tree.zip 'odd [x]* -é:1/-a:b[1]?.zip' && list "$work/odd [x]* -é:1/-a:b[1]?.zip"
has "a path that means something to the tools" archive/files=3
cp tree.zip tree.mkv && list "$work/tree.mkv"
has "the content counts, not the name" archive/format=zip

printf '' > empty.zip && list "$work/empty.zip"; ends "an empty file is skipped" 80 'empty'
printf 'just text, no archive' > text.tar && list "$work/text.tar"; ends "no archive is skipped" 80 'no archive'
printf 'just text' | gzip > text.gz && list "$work/text.gz"; ends "a packed text is skipped" 80 'no archive'
list "$work/none.zip"; ends "a file that is gone is tried again" 75 'could not read'
head -c 300 tree.zip > cut.zip && list "$work/cut.zip"; ends "half a zip fails for good" 65 '.'
head -c 4000 tree.tar > cut.tar && list "$work/cut.tar"; ends "half a tar fails for good" 65 'tar'
head -c 150 tree.tgz > cut.tgz && list "$work/cut.tgz"
if [ "$code" -eq 65 ] || [ "$code" -eq 80 ]; then ok "half a tgz is no listing"; else bad "half a tgz is no listing"; fi

mkdir bin && for program in sh head od tr iconv awk cat; do ln -s "$(command -v "$program")" bin/; done
printf '7z\274\257\047\034....' > odd.7z && printf 'PK\003\004....' > odd.zip
for format in 7z zip; do
    said=$(PATH=$work/bin METAFLEET_FILE=$work/odd.$format "$plugin/list-archive" 2>"$work/words"); code=$? words=$(cat "$work/words")
    ends "without a program for it, $format is skipped" 80 "no program here that lists $format"
done

mkdir many && cd many && seq 1 3000 | sed 's/.*/f&.x/' | xargs touch && cd .. && tar -cf many.tar many && list "$work/many.tar"
has "many entries are counted" archive/files=3000 archive/extensions=x
[ "$(printf '%s' "$said" | wc -c)" -lt 20000 ] && ok "and the list is bounded" || bad "and the list is bounded"
printf x > up && tar -cPf up.tar ../"${work##*/}"/up /etc/hostname 2>/dev/null && list "$work/up.tar"
has "names that lead out are counted" archive/unsafeNames=2
name=$(printf 'bad\377\nname') && printf x > "$name" && tar -cf bytes.tar "$name" && list "$work/bytes.tar"
has "names that are no text are listed" archive/files=1
printf '%s' "$said" | iconv -f UTF-8 -t UTF-8 >/dev/null && ok "as text" || bad "as text"
long=$(printf 'é%.0s' $(seq 1 120)) && mkdir -p "$long/$long/$long/$long/$long/$long" && tar -cf long.tar "$long" && list "$work/long.tar"
has "long names are cut" archive/folders=6
printf '%s' "$said" | iconv -f UTF-8 -t UTF-8 >/dev/null && ok "at a character" || bad "at a character"
truncate -s 1000000000 zeros && tar -czf bomb.tgz zeros && rm zeros && list "$work/bomb.tgz"
has "a bomb is listed, not unpacked" archive/totalSize=1000000000
[ ! -e zeros ] && ok "and leaves nothing" || bad "and leaves nothing"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
