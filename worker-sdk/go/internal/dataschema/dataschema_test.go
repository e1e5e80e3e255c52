package dataschema

import (
	"strings"
	"testing"

	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

func TestPatternsMatchAsDocumented(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"genres", "genres", true}, {"genres", "genres/0", false}, {"a/{n}/b", "a/12/b", true}, {"a/{n}/b", "a/x/b", false},
		{"a/{n}/*", "a/0/c/d", true}, {"a/{n}/*", "a/x/c", false}, {"a/{n}/*", "a/0", false}, {"a/*/c", "a/b/c", true}, {"a/*/c", "a/b/d", false}, {"*", "anything/at/all", true},
	} {
		if got := Matches(c.pattern, c.key); got != c.want {
			t.Errorf("%s %s: %v", c.pattern, c.key, got)
		}
	}
}

func TestKeysHaveNoEmptySegments(t *testing.T) {
	for key, fine := range map[string]bool{
		"a": true, "a/b": true, "": false, "/a": false, "a/": false, "a//b": false, "a\nb": false, "日本": true, "a\xff": false,
		strings.Repeat("x", 512): true, strings.Repeat("x", 513): false,
	} {
		if err := CheckKey(key); (err == nil) != fine {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestWhatTheDataSchemaDoesNotAllowIsNamed(t *testing.T) {
	c := New("lines", map[string]wire.DataField{
		"a": {}, "s": {Type: wire.DataTypeSet}, "j": {Type: wire.DataTypeJson}, "t/{n}": {Type: wire.DataTypeString},
		"family": {Type: wire.DataTypeSet, Pattern: "family/*"},
	})
	text, set := wire.TextValue("x"), wire.SetValue("x")
	json, err := wire.JSONValue(map[string]int{"x": 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c2 := range []struct {
		key   string
		value wire.MetaValue
		want  string
	}{
		{"a", text, ""}, {"a", set, "`a` must be a string"}, {"a", json, "`a` must be a string"}, {"s", set, ""}, {"s", text, "must be an array"},
		{"j", text, ""}, {"j", set, ""}, {"j", json, ""}, {"t/3", text, ""}, {"t/x", text, "`t/x` is not in the dataSchema of lines"},
		{"family/b/c", set, ""}, {"family/b", text, "must be an array"}, {"family", set, ""}, {"z", text, "not in the dataSchema"},
	} {
		err := c.Check(map[string]wire.MetaValue{c2.key: c2.value})
		if (err == nil) != (c2.want == "") || err != nil && !strings.Contains(err.Error(), c2.want) {
			t.Errorf("%s: %v, not `%s`", c2.key, err, c2.want)
		}
	}
}

func TestWhatNestsTooDeepToBeReadAgainIsNamed(t *testing.T) {
	c := New("x", map[string]wire.DataField{"j": {Type: wire.DataTypeJson}})
	list := func(inner any) any { return []any{inner} }
	object := func(inner any) any { return map[string]any{`a"[`: inner} }
	for _, c2 := range []struct {
		depth  int
		around func(any) any
		inner  any
		fine   bool
	}{
		{0, list, 1, true}, {1, list, `\"[[[{{{`, true}, {64, list, 1, true}, {65, list, 1, false}, {64, object, 1, true},
		{65, object, 1, false}, {64, list, strings.Repeat("[", 100), true}, {0, list, strings.Repeat("[", 100), true},
	} {
		value := c2.inner
		for range c2.depth {
			value = c2.around(value)
		}
		written, err := wire.JSONValue(value)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Check(map[string]wire.MetaValue{"j": written})
		if (err == nil) != c2.fine || err != nil && err.Error() != "key `j` nests deeper than 64" {
			t.Errorf("%d deep: %v", c2.depth, err)
		}
	}
}
