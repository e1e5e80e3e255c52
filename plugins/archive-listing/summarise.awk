# Adds up the words of a tool that lists archives, and writes key=value lines when the tool has ended well.
# Memory is bounded however long the listing is.

BEGIN { MOST_LISTED = 200; MOST_NAMES = 50 }

# The line after the last: how the tool ended.
/^\001/ { ended = 1; code = $2; next }
tool == "zipinfo" && /^[-dlbcps?]/ && NF >= 9 { entry(kind_of($1), $4, after($0, 8)); if ($5 ~ /^[BT]/) encrypted = 1; next }
tool == "tar" && /^[-dlhbcpsCDMNSV]/ && NF >= 6 { entry(kind_of($1), $3, name_of($1, after($0, 5))); next }
tool == "bsdtar" && /^[-dlhbcps]/ && NF >= 9 { entry(kind_of($1), $5, name_of($1, after($0, 8))); next }
tool == "7z" { block($0) }

END {
    if (!ended || code != 0) exit 65
    if (open) flush_block()
    print "archive/format=" format
    print "archive/entries=" (files + folders + others)
    print "archive/files=" files + 0
    print "archive/folders=" folders + 0
    printf "archive/totalSize=%.0f\n", total
    if (files) { print "archive/largest=" largest; printf "archive/largestSize=%.0f\n", most }
    for (name in tops) print "archive/topFolders=" name
    for (name in extensions) print "archive/extensions=" name
    if (encrypted) print "archive/encrypted=true"
    if (unsafe) print "archive/unsafeNames=" unsafe
    printf "archive/list=[%s]\n", listed
}

function kind_of(mode) {
    mode = substr(mode, 1, 1)
    return mode == "d" ? "folder" : (mode == "-" || mode == "?") ? "file" : "other"
}

# What follows so many fields and one blank.
function after(line, fields) {
    while (fields-- > 0) { sub(/^ +/, "", line); sub(/^[^ ]+/, "", line) }
    return substr(line, 2)
}

# Links say where they lead.
function name_of(mode, name) {
    if (mode ~ /^l/) sub(/ -> .*$/, "", name)
    if (mode ~ /^h/) sub(/ link to .*$/, "", name)
    return name
}

# 7z writes a block of `Name = value` lines for each entry.
function block(line) {
    if (line ~ /^Path = /) { if (open) flush_block(); open = 1; path = substr(line, 8); size = 0; kind = "file" }
    else if (line ~ /^Size = [0-9]/) size = substr(line, 8)
    else if (line ~ /^Folder = \+/ || line ~ /^Attributes = D/) kind = "folder"
    else if (line ~ /^Attributes = .* l[r-][w-]/) kind = "other"
    else if (line ~ /^Encrypted = \+/) encrypted = 1
}
function flush_block() { entry(kind, size, path); open = 0 }

function entry(kind, size, name,   top, base, extension) {
    if (size !~ /^[0-9]+$/) size = 0
    gsub(/[\001-\037]/, " ", name)
    sub(/\/$/, "", name)
    if (length(name) > 1000) name = shortened(name)
    if (kind == "folder") folders++
    else if (kind == "file") {
        files++; total += size
        if (files == 1 || size + 0 > most) { most = size + 0; largest = name }
    } else others++
    if (name ~ /^\// || name ~ /(^|\/)\.\.(\/|$)/ || name ~ /^[A-Za-z]:[\\\/]/) unsafe++
    if (index(name, "/") || kind == "folder") {
        top = name; sub(/\/.*$/, "", top)
        if (top != "" && top != "." && !(top in tops) && tops_seen < MOST_NAMES) { tops[top]; tops_seen++ }
    }
    if (kind == "file") {
        base = name; sub(/^.*\//, "", base)
        if (match(base, /.\.[A-Za-z0-9]+$/)) {
            extension = tolower(substr(base, RSTART + 2))
            if (length(extension) <= 16 && !(extension in extensions) && extensions_seen < MOST_NAMES) { extensions[extension]; extensions_seen++ }
        }
    }
    if (count < MOST_LISTED) {
        gsub(/\\/, "\\\\", name); gsub(/"/, "\\\"", name)
        listed = listed (count++ ? "," : "") sprintf("{\"name\":\"%s\",\"size\":%s}", name, size)
    }
}

# The first part of a name that is too long, up to a whole character.
function shortened(name) {
    name = substr(name, 1, 1000)
    while (name ~ /[\200-\277]$/) name = substr(name, 1, length(name) - 1)
    sub(/[\300-\377]$/, "", name)
    return name "..."
}
