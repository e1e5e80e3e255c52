// Package wire holds the messages of the MetaFleet protocol as Go types.
//
// They are written by internal/schemagen from the JSON Schemas that PROTOCOL.md is tested against; only
// [MetaValue] is written by hand. A plugin needs few of them: package metafleet gives names to those.
package wire
