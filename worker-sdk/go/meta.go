package metafleet

import (
	"encoding/json"
	"fmt"

	"github.com/metafleet/metafleet/worker-sdk/go/internal/dataschema"
	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// Meta is the metadata of one file, as one plugin writes it. The zero value is empty and ready for use.
//
// Nothing here fails: a key that is not legal, or one that is used for a text and for a set, is remembered
// and fails the task permanently with its name. A Meta is not for several goroutines at once.
type Meta struct {
	values  map[string]Value
	mistake error
}

// NewMeta is no metadata yet.
func NewMeta() *Meta { return &Meta{} }

// Text writes a text, a number or a boolean as text, replacing what the key held; an empty text is a value,
// too.
func (m *Meta) Text(key string, value any) *Meta {
	if text, ok := value.(string); ok {
		return m.put(key, wire.TextValue(text))
	}
	return m.put(key, wire.TextValue(fmt.Sprint(value)))
}

// Set writes a set, replacing what the key held; an empty set is not written.
func (m *Meta) Set(key string, values ...string) *Meta {
	if len(values) == 0 {
		return m
	}
	return m.put(key, wire.SetValue(values...))
}

// Add adds values to a set.
func (m *Meta) Add(key string, values ...string) *Meta {
	have, there := m.values[key]
	set, isSet := have.Set()
	if there && !isSet {
		return m.note(fmt.Errorf("metadata key `%s` holds a value, a set was added to", key))
	}
	return m.Set(key, append(set, values...)...)
}

// JSON writes structured data, for keys that the dataSchema declares as `json`.
func (m *Meta) JSON(key string, value any) *Meta {
	data, err := wire.JSONValue(value)
	if err != nil {
		return m.note(fmt.Errorf("metadata key `%s`: %w", key, err))
	}
	return m.put(key, data)
}

// Artifact refers to something that [Task.PutArtifact] has kept, for keys that the dataSchema declares as `json`.
func (m *Meta) Artifact(key string, artifact Artifact) *Meta { return m.JSON(key, artifact) }

// Empty says whether nothing was written.
func (m *Meta) Empty() bool { return m == nil || len(m.values) == 0 && m.mistake == nil }

// Value gives what a key holds.
func (m *Meta) Value(key string) (Value, bool) {
	if m == nil {
		return Value{}, false
	}
	value, found := m.values[key]
	return value, found
}

// MarshalJSON writes the metadata as the protocol has it.
func (m *Meta) MarshalJSON() ([]byte, error) {
	values, err := m.finish()
	if err != nil {
		return nil, err
	}
	if values == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(values)
}

// finish gives what was written, or the first mistake that was made while writing.
func (m *Meta) finish() (map[string]Value, error) {
	if m == nil {
		return nil, nil
	}
	return m.values, m.mistake
}

func (m *Meta) put(key string, value Value) *Meta {
	if err := dataschema.CheckKey(key); err != nil {
		return m.note(err)
	}
	if m.values == nil {
		m.values = map[string]Value{}
	}
	m.values[key] = value
	return m
}

func (m *Meta) note(mistake error) *Meta {
	if m.mistake == nil {
		m.mistake = mistake
	}
	return m
}
