// Command rawceiling does what the noop plugin does with the NATS client alone: it pulls tasks from the
// consumer noop_fast, puts a record with its fence, waits for the acknowledgement, and answers. It shows what
// the client and the broker can do within the rules of the protocol; the plugin noop must have announced
// itself before, so that the consumer is there.
//
//	rawceiling [TASKS]
//
// After so many tasks it prints the seconds from the first to the last; without a number it goes on.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// places is how many tasks are in hand at once, as in the plugin noop.
	places = 64
	next   = "$JS.API.CONSUMER.MSG.NEXT.MF_TASKS.noop_fast"
)

// task is as much of one as a record needs.
type task struct {
	TaskID         string `json:"taskId"`
	CID            string `json:"cid"`
	RecordRevision uint64 `json:"recordRevision"`
	Fingerprint    string `json:"fingerprint"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "rawceiling:", err)
		os.Exit(1)
	}
}

func run() error {
	wanted := math.MaxInt
	if len(os.Args) > 1 {
		number, err := strconv.Atoi(os.Args[1])
		if err != nil {
			return fmt.Errorf("usage: rawceiling [TASKS]: %w", err)
		}
		wanted = number
	}
	url := os.Getenv("NATS_URL")
	if url == "" {
		url = nats.DefaultURL
	}
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	tasks, stored := make(chan *nats.Msg, 4*places), make(chan *nats.Msg, 4*places)
	inbox, acks := nc.NewInbox(), nc.NewInbox()
	if _, err := nc.ChanSubscribe(inbox, tasks); err != nil {
		return err
	}
	if _, err := nc.ChanSubscribe(acks+".*", stored); err != nil {
		return err
	}
	return pump(nc, wanted, inbox, acks, tasks, stored)
}

// pump keeps all places busy until so many tasks are done, and prints the time from the first to the last.
func pump(nc *nats.Conn, wanted int, inbox, acks string, tasks, stored <-chan *nats.Msg) error {
	waiting := map[string]string{}
	free, promised, done, number := places, 0, 0, 0
	var began time.Time
	for done < wanted {
		if free > 0 && (promised == 0 || free >= places/4) {
			body := fmt.Appendf(nil, `{"batch":%d,"expires":%d}`, free, 2*time.Second)
			if err := nc.PublishRequest(next, inbox, body); err != nil {
				return err
			}
			free, promised = 0, promised+free
		}
		select {
		case message := <-tasks:
			if status := message.Header.Get("Status"); status != "" && len(message.Data) == 0 {
				left, err := strconv.Atoi(message.Header.Get("Nats-Pending-Messages"))
				if err != nil {
					return fmt.Errorf("status %s: %s; was the plugin noop announced?", status, message.Header.Get("Description"))
				}
				free, promised = free+left, promised-left
				continue
			}
			if began.IsZero() {
				began = time.Now()
			}
			promised--
			number++
			token := strconv.Itoa(number)
			waiting[token] = message.Reply
			if err := put(nc, message, acks+"."+token); err != nil {
				return err
			}
		case answer := <-stored:
			if !bytes.Contains(answer.Data, []byte(`"seq"`)) && !bytes.Contains(answer.Data, []byte("10071")) {
				return fmt.Errorf("the record was refused: %s", answer.Data)
			}
			token := answer.Subject[strings.LastIndexByte(answer.Subject, '.')+1:]
			if err := nc.Publish(waiting[token], []byte("+ACK")); err != nil {
				return err
			}
			delete(waiting, token)
			free, done = free+1, done+1
		case <-time.After(time.Minute):
			return fmt.Errorf("nothing came for a minute after %d tasks", done)
		}
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	fmt.Printf("%.3f\n", time.Since(began).Seconds())
	return nil
}

// put publishes the record of a task; its acknowledgement comes to the inbox.
func put(nc *nats.Conn, message *nats.Msg, inbox string) error {
	var t task
	if err := json.Unmarshal(message.Data, &t); err != nil {
		return err
	}
	token := message.Subject[strings.LastIndexByte(message.Subject, '.')+1:]
	body, err := json.Marshal(map[string]any{
		"type": "metafleet.record.v1", "taskId": t.TaskID, "pluginId": "noop", "cid": t.CID, "status": "completed", "attempt": 1,
		"pluginVersion": "1.0.0", "fingerprint": t.Fingerprint, "meta": map[string]string{"noop/done": "1"},
	})
	if err != nil {
		return err
	}
	return nc.PublishMsg(&nats.Msg{
		Subject: "$KV.mf-records." + token + ".noop", Reply: inbox, Data: body,
		Header: nats.Header{"Nats-Expected-Last-Subject-Sequence": {strconv.FormatUint(t.RecordRevision, 10)}},
	})
}
