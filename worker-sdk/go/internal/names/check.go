package names

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

func lower(b byte) bool { return 'a' <= b && b <= 'z' || '0' <= b && b <= '9' || b == '-' }

func check(what, text string, most int, allowed func(byte) bool, edges bool) error {
	fits := text != "" && len(text) <= most
	for i := range len(text) {
		fits = fits && allowed(text[i])
	}
	if fits && edges {
		fits = text[0] != '-' && text[len(text)-1] != '-'
	}
	if !fits {
		return fmt.Errorf("`%s` is no %s", text, what)
	}
	return nil
}

// CheckPrefix says whether a text can be the prefix of a fleet.
func CheckPrefix(text string) error {
	return check("prefix: 1 to 24 characters of a-z, 0-9 and -, not - first or last", text, 24, lower, true)
}

// CheckPlugin says whether a text can be the id of a plugin.
func CheckPlugin(text string) error {
	if text == "user" {
		return fmt.Errorf("`user` is no plugin id: it is a person's layer of metadata")
	}
	if text == "coordinator" {
		return fmt.Errorf("`coordinator` is no plugin id: it is the coordinator's login at the broker")
	}
	return check("plugin id: 1 to 64 characters of a-z, 0-9 and -, not - first or last", text, 64, lower, true)
}

// CheckInstance says whether a text can name an instance.
func CheckInstance(text string) error {
	return check("instance id: 1 to 128 characters of A-Z, a-z, 0-9, _ and -", text, 128, plain, false)
}

// CheckArtifact says whether a text can name an artefact.
func CheckArtifact(text string) error {
	if text == "" || len(text) > 128 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("%q is no name of an artefact: 1 to 128 bytes of UTF-8 without control characters", text[:min(len(text), 200)])
	}
	return nil
}

// CheckRoute says whether a text can name a route.
func CheckRoute(text string) error {
	if text == LaneMain || text == LaneNext {
		return fmt.Errorf("`%s` is no route: it is a lane of every plugin", text)
	}
	return check("route: 1 to 24 characters of a-z, 0-9 and -, not - first or last", text, 24, lower, true)
}
