// Package names holds the key codec and the names of streams, subjects and keys. It is pure.
package names

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const upperHex = "0123456789ABCDEF"

// plain says whether a byte stands for itself in a token.
func plain(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_' || b == '-'
}

// Encode makes a token of any text; one text has one token.
func Encode(text string) string {
	if text == "" {
		return "="
	}
	var out strings.Builder
	out.Grow(len(text) + 2) // content ids have one byte that does not stand for itself
	for i := range len(text) {
		if b := text[i]; plain(b) {
			out.WriteByte(b)
		} else {
			out.WriteByte('=')
			out.WriteByte(upperHex[b>>4])
			out.WriteByte(upperHex[b&15])
		}
	}
	return out.String()
}

// Decode gives the text of a token, and refuses every spelling that Encode would not write.
func Decode(token string) (string, error) {
	if token == "=" {
		return "", nil
	}
	if token == "" {
		return "", fmt.Errorf("a token must not be empty")
	}
	out := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		b := token[i]
		if plain(b) {
			out = append(out, b)
			continue
		}
		if b != '=' || i+2 >= len(token) {
			return "", fmt.Errorf("`%s` is no token: character %d", token, i)
		}
		high, low := strings.IndexByte(upperHex, token[i+1]), strings.IndexByte(upperHex, token[i+2])
		if high < 0 || low < 0 || plain(byte(high<<4|low)) {
			return "", fmt.Errorf("`%s` is no token: character %d", token, i)
		}
		out = append(out, byte(high<<4|low))
		i += 2
	}
	if !utf8.Valid(out) {
		return "", fmt.Errorf("`%s` is no token: it is not UTF-8", token)
	}
	return string(out), nil
}
