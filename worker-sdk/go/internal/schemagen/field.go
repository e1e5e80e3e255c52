package main

import (
	"strings"
	"unicode"
)

// field gives the Go type of a property and what follows the name in its tag.
//
// What may be absent is left out when it is the zero value. Where zero is a value and means something
// else than absence, the type is a pointer.
func (g *emitter) field(s *schema, required bool) (kind, tag string) {
	nullable := s.Type.nullable
	if len(s.AnyOf) == 2 && s.AnyOf[1].Type.name == "null" {
		inner := *s.AnyOf[0]
		s, nullable = &inner, true
	}
	kind = g.kind(s)
	if required {
		return kind, ""
	}
	switch {
	case strings.HasPrefix(kind, "[]"), strings.HasPrefix(kind, "map["):
		return kind, ",omitzero"
	case kind == "any":
		return kind, ",omitempty"
	case isNumber(kind), kind == "bool":
		if nullable || !zeroDefault(s) {
			return "*" + kind, ",omitempty"
		}
		return kind, ",omitempty"
	case kind == "string":
		return kind, ",omitempty"
	case nullable:
		return "*" + kind, ",omitempty"
	default:
		return kind, ",omitzero"
	}
}

func isNumber(kind string) bool {
	return strings.HasPrefix(kind, "uint") || strings.HasPrefix(kind, "int") || strings.HasPrefix(kind, "float")
}

func zeroDefault(s *schema) bool {
	switch string(s.Default) {
	case "", "0", "false", "null":
		return true
	default:
		return false
	}
}

// kind gives the Go type of a schema.
func (g *emitter) kind(s *schema) string {
	if s.Ref != "" {
		name, def := g.book.resolve(s.Ref)
		switch {
		case def == nil:
			g.fail("%s: no such definition", s.Ref)
			return "any"
		case name == "MetaValue", isEnum(def), def.Properties != nil:
			return name
		default:
			return g.kind(def)
		}
	}
	switch s.Type.name {
	case "string":
		return "string"
	case "boolean":
		return "bool"
	case "number":
		return "float64"
	case "integer":
		if s.Format == "uint" {
			return "uint64"
		}
		if s.Format == "" {
			return "int64"
		}
		return s.Format
	case "array":
		return "[]" + g.kind(s.Items)
	case "object":
		if s.Properties != nil {
			g.fail("an object without a name: %s", s.Description)
		}
		if s.AdditionalProperties != nil {
			return "map[string]" + g.kind(s.AdditionalProperties)
		}
		return "map[string]any"
	case "":
		if isConst(s) {
			return "string"
		}
		return "any"
	default:
		g.fail("do not know the type `%s`", s.Type.name)
		return "any"
	}
}

// exported makes a Go name: `taskId` becomes `TaskID`, `blue-green` becomes `BlueGreen`.
func exported(name string) string {
	var out strings.Builder
	upper := true
	for _, r := range name {
		switch {
		case r == '-' || r == '_' || r == '.' || r == '$':
			upper = true
		case upper:
			out.WriteRune(unicode.ToUpper(r))
			upper = false
		default:
			out.WriteRune(r)
		}
	}
	text := out.String()
	for from, to := range map[string]string{"Id": "ID", "Url": "URL", "Ui": "UI", "Pid": "PID"} {
		if strings.HasSuffix(text, from) {
			text = strings.TrimSuffix(text, from) + to
		}
	}
	return text
}
