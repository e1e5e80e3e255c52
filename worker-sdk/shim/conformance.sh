#!/bin/sh
# Follows the script of the conformance kit, one process for each task: line n of the file is for call n, the last one for
# all further calls. Run by metafleet-shim with --check-settings.
set -u
export LC_ALL=C

say() { printf '%s\n' "$1" >&2; }

if [ "$METAFLEET_EVENT" = configure ]; then
    [ "${METAFLEET_SETTING_MODE-}" != bad ] || { say 'mode bad is not served'; exit 78; }
    exit 0
fi

# The metadata that is there, out of the line on standard input: an object, up to the brace that ends it.
existing() {
    awk '{
        at = index($0, "\"existingMeta\":{"); if (!at) { print "{}"; exit }
        rest = substr($0, at + 15); depth = 0; text = 0
        for (i = 1; i <= length(rest); i++) {
            c = substr(rest, i, 1)
            if (text) { if (c == "\\") i++; else if (c == "\"") text = 0 }
            else if (c == "\"") text = 1
            else if (c == "{") depth++
            else if (c == "}" && --depth == 0) { print substr(rest, 1, i); exit }
        }
    }'
}

quoted() { printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"; }

# Metadata that every call leaves, with the members of another object.
meta() {
    more=$(printf %s "${1-}" | sed 's/^[[:space:]]*{[[:space:]]*//; s/[[:space:]]*}[[:space:]]*$//')
    printf '{"script/attempt":"%s","script/cid":%s,"script/existing":%s%s%s}' \
        "$METAFLEET_ATTEMPT" "$(quoted "$METAFLEET_CID")" "$(existing)" "${more:+,}" "$more"
}

until_there() {
    while [ ! -e "$1" ]; do sleep 0.01; done
}

calls=$METAFLEET_FILE.calls
before=0
if [ -f "$calls" ]; then before=$(wc -l < "$calls"); fi
# For a file of which there is only a copy here, no note is made.
printf '%s %s %s\n' "${METAFLEET_INSTANCE-shim}" "$METAFLEET_ATTEMPT" "$(($(date +%s%N) / 1000000))" >> "$calls" || :

line=$(awk -v n="$((before + 1))" 'NF { last = $0 } NR == n { exit } END { print last }' "$METAFLEET_FILE")
verb=${line%% *}
rest=${line#"$verb"}
rest=${rest# }

case $verb in
complete) meta "$rest" ;;
skip) say "$rest"; exit 80 ;;
retry) say "$rest"; exit 75 ;;
fail) say "$rest"; exit 65 ;;
later) printf '%d.%03d\n' "$((rest / 1000))" "$((rest % 1000))"; say 'told to wait'; exit 81 ;;
wait) echo '{"progress": 0.5, "note": "waiting"}'; until_there "$rest"; meta ;;
block) until_there "$rest"; meta ;;
crash) say "$rest"; exit 1 ;;
exit) exit "$rest" ;;
error) head -c "$((rest / 2))" /dev/zero | sed "s/./$(printf '\303\251')/g" >&2; say ''; exit 65 ;;
large) printf 'script/text/0/large='; head -c "$rest" /dev/zero | tr '\0' x; echo ;;
forward) printf '{"outcome":"forward","file":%s}' "$(quoted "$rest")" ;;
submit) printf '{"outcome":"completed","submit":[%s],"meta":' "$(quoted "$rest")"; meta; printf '}' ;;
read)
    sum=$(sha256sum < "$METAFLEET_FILE")
    echo "script/text/0/sha256=${sum%% *}"
    echo "script/text/0/size=$(($(wc -c < "$METAFLEET_FILE")))"
    ;;
*) say "unknown: $line"; exit 65 ;;
esac
