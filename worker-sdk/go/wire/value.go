package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// MetaValue is the value of one metadata key: a text, a set of texts, or JSON.
//
// The zero value is the JSON null.
type MetaValue struct {
	kind kind
	text string
	set  []string
	json json.RawMessage
}

type kind uint8

const (
	kindJSON kind = iota
	kindText
	kindSet
)

// TextValue is one text.
func TextValue(text string) MetaValue { return MetaValue{kind: kindText, text: text} }

// SetValue is several texts without order; repetitions are dropped.
func SetValue(texts ...string) MetaValue {
	set := slices.Clone(texts)
	slices.Sort(set)
	return MetaValue{kind: kindSet, set: slices.Compact(set)}
}

// JSONValue is structured data. A value that is a string or an array of strings becomes a text or a
// set, because that is what readers take it for.
func JSONValue(value any) (MetaValue, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return MetaValue{}, err
	}
	var out MetaValue
	return out, out.UnmarshalJSON(data)
}

// Text gives the text; false where it is a set or JSON.
func (v MetaValue) Text() (string, bool) { return v.text, v.kind == kindText }

// Set gives the texts of a set in order; false where it is a text or JSON. An empty JSON array is an
// empty set.
func (v MetaValue) Set() ([]string, bool) { return slices.Clone(v.set), v.kind == kindSet }

// JSON gives the value as JSON, whatever its kind.
func (v MetaValue) JSON() json.RawMessage {
	data, err := v.MarshalJSON()
	if err != nil {
		return json.RawMessage("null")
	}
	return data
}

// String gives the value for people: texts as they are, everything else as JSON.
func (v MetaValue) String() string {
	if v.kind == kindText {
		return v.text
	}
	return string(v.JSON())
}

// Equal says whether two values are the same.
func (v MetaValue) Equal(other MetaValue) bool { return bytes.Equal(v.JSON(), other.JSON()) }

// MarshalJSON writes the value as the protocol has it.
func (v MetaValue) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case kindText:
		if plain(v.text) {
			return append(append(append(make([]byte, 0, len(v.text)+2), '"'), v.text...), '"'), nil
		}
		return marshal(v.text)
	case kindSet:
		if v.set == nil {
			return []byte("[]"), nil
		}
		return marshal(v.set)
	default:
		if v.json == nil {
			return []byte("null"), nil
		}
		return v.json, nil
	}
}

// UnmarshalJSON reads a value; its JSON says its kind.
func (v *MetaValue) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return fmt.Errorf("a metadata value is missing")
	}
	switch data[0] {
	case '"':
		*v = MetaValue{kind: kindText}
		if last := len(data) - 1; last > 0 && data[last] == '"' && plain(data[1:last]) {
			v.text = string(data[1:last])
			return nil
		}
		return json.Unmarshal(data, &v.text)
	case '[':
		// A null would be taken for an empty text, so the elements are pointers.
		var texts []*string
		if json.Unmarshal(data, &texts) == nil && !slices.Contains(texts, nil) {
			set := make([]string, len(texts))
			for i, text := range texts {
				set[i] = *text
			}
			*v = SetValue(set...)
			return nil
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return err
	}
	*v = MetaValue{kind: kindJSON, json: compact.Bytes()}
	return nil
}

// plain says whether a text is the same in JSON, but for the quotes. Most are, and a file may have hundreds.
func plain[T string | []byte](text T) bool {
	for i := range len(text) {
		if b := text[i]; b < ' ' || b > '~' || b == '"' || b == '\\' {
			return false
		}
	}
	return true
}

// Marshal writes a message; `<`, `>` and `&` stay as they are.
func Marshal(message any) ([]byte, error) { return marshal(message) }

func marshal(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}
