package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// messages are the schemas that a worker needs; the others are the coordinator's.
var messages = []string{
	"announce", "announce-reply", "control", "control-reply", "instance", "manifest", "record", "signal", "submission", "task",
}

// schema is as much of JSON Schema as these files use.
type schema struct {
	Ref                  string             `json:"$ref"`
	Title                string             `json:"title"`
	Description          string             `json:"description"`
	Type                 types              `json:"type"`
	Format               string             `json:"format"`
	Const                string             `json:"const"`
	Enum                 []string           `json:"enum"`
	Properties           properties         `json:"properties"`
	Required             []string           `json:"required"`
	Items                *schema            `json:"items"`
	AdditionalProperties *schema            `json:"-"`
	RawAdditional        json.RawMessage    `json:"additionalProperties"`
	OneOf                []*schema          `json:"oneOf"`
	AnyOf                []*schema          `json:"anyOf"`
	Default              json.RawMessage    `json:"default"`
	Defs                 map[string]*schema `json:"$defs"`
}

// types is `"x"` or `["x", "null"]`.
type types struct {
	name     string
	nullable bool
}

func (t *types) UnmarshalJSON(data []byte) error {
	if data[0] != '[' {
		return json.Unmarshal(data, &t.name)
	}
	var all []string
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for _, one := range all {
		switch {
		case one == "null":
			t.nullable = true
		case t.name == "":
			t.name = one
		default:
			return fmt.Errorf("more than one type: %s", data)
		}
	}
	return nil
}

// properties keep the order of the file.
type properties []property

type property struct {
	name string
	schema
}

func (p *properties) UnmarshalJSON(data []byte) error {
	var byName map[string]*schema
	if err := json.Unmarshal(data, &byName); err != nil {
		return err
	}
	names, err := keysInOrder(data)
	if err != nil {
		return err
	}
	for _, name := range names {
		*p = append(*p, property{name, *byName[name]})
	}
	return nil
}

func keysInOrder(data []byte) ([]string, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	var names []string
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("not a key: %v", token)
		}
		names = append(names, name)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func (s *schema) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("true")) {
		return nil
	}
	type plain schema
	if err := json.Unmarshal(data, (*plain)(s)); err != nil {
		return err
	}
	if len(s.RawAdditional) > 0 && s.RawAdditional[0] == '{' {
		return json.Unmarshal(s.RawAdditional, &s.AdditionalProperties)
	}
	return nil
}

// book holds all schemas: one file for each message, and what several of them use.
type book struct {
	files map[string]*schema
	defs  map[string]*schema
}

func read(folder string) (*book, error) {
	b := &book{files: map[string]*schema{}, defs: map[string]*schema{}}
	for _, message := range messages {
		path := filepath.Join(folder, message+".schema.json")
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%w; the schemas lie in broker-config/schema of the repository", err)
		}
		var s schema
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		b.files[message] = &s
	}
	titles := map[string]bool{}
	for _, file := range b.files {
		titles[file.Title] = true
	}
	for _, message := range messages {
		for name, def := range b.files[message].Defs {
			if !titles[name] && b.defs[name] == nil {
				b.defs[name] = def
			}
		}
	}
	return b, nil
}

// resolve follows a reference to a definition.
func (b *book) resolve(ref string) (string, *schema) {
	name := strings.TrimPrefix(ref, "#/$defs/")
	if def := b.defs[name]; def != nil {
		return name, def
	}
	for _, file := range b.files {
		if file.Title == name {
			return name, file
		}
	}
	return name, nil
}

// sorted gives the names of all definitions.
func (b *book) sorted() []string {
	names := make([]string, 0, len(b.defs))
	for name := range b.defs {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
