// Package dataschema checks metadata against what a manifest allows. It is pure.
package dataschema

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// keyBytes is the longest metadata key.
const keyBytes = 512

// depth is how many arrays and objects of a value may lie within each other; readers may give up on what
// nests deeper.
const depth = 64

// CheckKey says whether a text can be a metadata key: segments joined by `/`, none empty.
func CheckKey(key string) error {
	empty := key == "" || key[0] == '/' || key[len(key)-1] == '/' || strings.Contains(key, "//")
	if empty || len(key) > keyBytes || strings.ContainsFunc(key, unicode.IsControl) || !utf8.ValidString(key) {
		shown := []rune(strings.ToValidUTF8(key, "\uFFFD"))
		return fmt.Errorf("metadata key `%s` must be segments joined by `/`, none empty, 512 bytes at most", string(shown[:min(80, len(shown))]))
	}
	return nil
}

// Matches says whether a key matches a pattern: `*` and `{n}` stand for one segment (`{n}` for a number),
// and a `*` at the end for one or more.
func Matches(pattern, key string) bool {
	wanted, found := strings.Split(pattern, "/"), strings.Split(key, "/")
	for i, segment := range wanted {
		if i >= len(found) {
			return false
		}
		last := i == len(wanted)-1
		switch {
		case segment == "*" && last:
			return found[i] != ""
		case segment == "*":
		case segment == "{n}":
			if found[i] == "" || strings.Trim(found[i], "0123456789") != "" {
				return false
			}
		case segment != found[i]:
			return false
		}
	}
	return len(wanted) == len(found)
}

// Checker checks the metadata of one plugin.
type Checker struct {
	plugin   string
	exact    map[string]wire.DataField
	patterns []pattern
}

type pattern struct {
	text  string
	field wire.DataField
}

// New prepares the checks for a dataSchema.
func New(plugin string, schema map[string]wire.DataField) *Checker {
	c := &Checker{plugin: plugin, exact: schema}
	for name, field := range schema {
		for _, text := range []string{name, field.Pattern} {
			if strings.ContainsAny(text, "*{") || text == field.Pattern && text != "" {
				c.patterns = append(c.patterns, pattern{text, field})
			}
		}
	}
	// In a fixed order, so that the same key always meets the same field.
	slices.SortFunc(c.patterns, func(a, b pattern) int { return strings.Compare(a.text, b.text) })
	return c
}

// Check says what is wrong with metadata, all of it; nil when nothing is.
func (c *Checker) Check(meta map[string]wire.MetaValue) error {
	var problems []string
	for key, value := range meta {
		if problem := c.problem(key, value); problem != "" {
			problems = append(problems, problem)
		}
	}
	if problems == nil {
		return nil
	}
	slices.Sort(problems)
	return fmt.Errorf("%s", strings.Join(problems, "; "))
}

func (c *Checker) problem(key string, value wire.MetaValue) string {
	field, found := c.field(key)
	if !found {
		return fmt.Sprintf("key `%s` is not in the dataSchema of %s", key, c.plugin)
	}
	switch field.Type {
	case wire.DataTypeJson:
		if nesting(value) > depth {
			return fmt.Sprintf("key `%s` nests deeper than %d", key, depth)
		}
	case wire.DataTypeSet:
		if _, isSet := value.Set(); !isSet {
			return fmt.Sprintf("key `%s` must be an array of strings", key)
		}
	default:
		if _, isText := value.Text(); !isText {
			return fmt.Sprintf("key `%s` must be a string", key)
		}
	}
	return ""
}

func (c *Checker) field(key string) (wire.DataField, bool) {
	if field, found := c.exact[key]; found {
		return field, true
	}
	for _, p := range c.patterns {
		if Matches(p.text, key) {
			return p.field, true
		}
	}
	return wire.DataField{}, false
}

// nesting is how many arrays and objects of a value lie within each other.
func nesting(value wire.MetaValue) int {
	if _, isText := value.Text(); isText {
		return 0
	}
	open, most, inText, escaped := 0, 0, false, false
	for _, c := range value.JSON() {
		switch {
		case escaped:
			escaped = false
		case inText:
			escaped, inText = c == '\\', c != '"'
		case c == '"':
			inText = true
		case c == '[' || c == '{':
			open++
			most = max(most, open)
		case c == ']' || c == '}':
			open--
		}
	}
	return most
}
