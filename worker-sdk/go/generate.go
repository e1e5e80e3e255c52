package metafleet

//go:generate go run ./internal/schemagen
