package integration

import "github.com/nats-io/nats.go"

// hear passes on what is said.
func hear(into chan<- string) nats.MsgHandler {
	return func(message *nats.Msg) { into <- string(message.Data) }
}
