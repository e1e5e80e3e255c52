// Package paths maps the paths of tasks to where their files are on this machine, and back. It is pure.
//
// Paths are bytes in Go strings: nothing here asks whether they are UTF-8.
package paths

import (
	"fmt"
	"slices"
	"strings"
)

// Map is what METAFLEET_PATHS says. The zero value maps nothing.
type Map struct{ pairs []pair }

type pair struct{ from, to string }

// Parse reads pairs `FROM=TO` separated by `:`.
func Parse(text string) (Map, error) {
	var m Map
	for _, part := range strings.Split(text, ":") {
		from, to, found := strings.Cut(part, "=")
		if !found {
			return Map{}, fmt.Errorf("`%s` must be FROM=TO", part)
		}
		if !absolute(from) || !absolute(to) {
			return Map{}, fmt.Errorf("`%s`: both sides must be absolute paths without `.` and `..`", part)
		}
		one := pair{trim(from), trim(to)}
		if slices.ContainsFunc(m.pairs, func(p pair) bool { return p.from == one.from }) {
			return Map{}, fmt.Errorf("`%s`: %s is there already", part, from)
		}
		m.pairs = append(m.pairs, one)
	}
	return m, nil
}

func absolute(path string) bool {
	segments := strings.Split(path, "/")
	return strings.HasPrefix(path, "/") && !slices.Contains(segments, ".") && !slices.Contains(segments, "..")
}

// trim takes the slashes at the end off; the root becomes the empty text.
func trim(path string) string { return strings.TrimRight(path, "/") }

// Here gives the place on this machine of the path of a task. The longest FROM wins.
func (m Map) Here(path string) string {
	return m.replace(path, func(p pair) (string, string) { return p.from, p.to })
}

// There gives the path that the fleet knows for a path on this machine. The longest TO wins.
func (m Map) There(path string) string {
	return m.replace(path, func(p pair) (string, string) { return p.to, p.from })
}

func (m Map) replace(path string, side func(pair) (string, string)) string {
	longest, result := -1, path
	for _, p := range m.pairs {
		from, to := side(p)
		rest, under := strings.CutPrefix(path, from)
		if !under || rest != "" && rest[0] != '/' || len(from) <= longest {
			continue
		}
		longest, result = len(from), to+rest
		if result == "" {
			result = "/"
		}
	}
	return result
}
