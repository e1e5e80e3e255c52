package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	metafleet "github.com/metafleet/metafleet/worker-sdk/go"
)

// call is one line of a file, and what it is about.
type call struct {
	ctx  context.Context
	task *metafleet.Task
	rest string
}

var verbs = map[string]func(call) (metafleet.Outcome, error){
	"complete": complete,
	"skip":     func(c call) (metafleet.Outcome, error) { return metafleet.Skipped(c.rest), nil },
	"retry":    func(c call) (metafleet.Outcome, error) { return metafleet.Outcome{}, errors.New(c.rest) },
	"fail": func(c call) (metafleet.Outcome, error) {
		return metafleet.Outcome{}, metafleet.Permanent(errors.New(c.rest))
	},
	"later":   later,
	"wait":    wait,
	"block":   block,
	"crash":   func(c call) (metafleet.Outcome, error) { panic(c.rest) },
	"exit":    exit,
	"error":   longError,
	"large":   large,
	"forward": func(c call) (metafleet.Outcome, error) { return metafleet.ForwardFile(c.rest), nil },
	"submit":  submit,
	"read":    read,
}

// base is the metadata of every completed call.
func base(c call) *metafleet.Meta {
	existing := c.task.Existing()
	if existing == nil {
		existing = map[string]metafleet.Value{}
	}
	return metafleet.NewMeta().Text("script/attempt", c.task.Attempt()).Text("script/cid", c.task.CID()).JSON("script/existing", existing)
}

func complete(c call) (metafleet.Outcome, error) {
	meta := base(c)
	if strings.TrimSpace(c.rest) != "" {
		var more map[string]json.RawMessage
		if err := json.Unmarshal([]byte(c.rest), &more); err != nil {
			return metafleet.Outcome{}, metafleet.Permanent(err)
		}
		for key, value := range more {
			meta.JSON(key, value)
		}
	}
	return metafleet.Completed(meta), nil
}

func later(c call) (metafleet.Outcome, error) {
	ms, err := strconv.Atoi(strings.TrimSpace(c.rest))
	return metafleet.RetryLater(time.Duration(ms)*time.Millisecond, "told to wait"), metafleet.Permanent(err)
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func wait(c call) (metafleet.Outcome, error) {
	c.task.Progress(0.5, "waiting")
	for !there(c.rest) {
		select {
		case <-c.ctx.Done():
			return metafleet.Outcome{}, c.ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return complete(call{c.ctx, c.task, ""})
}

// block does not heed the end of its context, as a plugin may that calls something foreign.
func block(c call) (metafleet.Outcome, error) {
	for !there(c.rest) {
		time.Sleep(10 * time.Millisecond)
	}
	return complete(call{c.ctx, c.task, ""})
}

func exit(c call) (metafleet.Outcome, error) {
	code, err := strconv.Atoi(strings.TrimSpace(c.rest))
	if err != nil {
		return metafleet.Outcome{}, metafleet.Permanent(err)
	}
	os.Exit(code)
	panic("it ended")
}

func number(c call) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(c.rest))
	if err == nil && (n < 0 || n > 1<<28) {
		err = fmt.Errorf("%d is too many", n)
	}
	return n, metafleet.Permanent(err)
}

func longError(c call) (metafleet.Outcome, error) {
	n, err := number(c)
	if err != nil {
		return metafleet.Outcome{}, err
	}
	return metafleet.Outcome{}, metafleet.Permanent(errors.New(strings.Repeat("é", n/len("é"))))
}

func large(c call) (metafleet.Outcome, error) {
	n, err := number(c)
	if err != nil {
		return metafleet.Outcome{}, err
	}
	return metafleet.Completed(base(c).Text("script/text/0/large", strings.Repeat("x", n))), nil
}

func submit(c call) (metafleet.Outcome, error) {
	if err := c.task.Submit(c.ctx, c.rest); err != nil {
		return metafleet.Outcome{}, err
	}
	return complete(call{c.ctx, c.task, ""})
}

func read(c call) (metafleet.Outcome, error) {
	file, err := c.task.Open(c.ctx)
	if err != nil {
		return metafleet.Outcome{}, err
	}
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err = errors.Join(err, file.Close()); err != nil {
		return metafleet.Outcome{}, err
	}
	return metafleet.Completed(base(c).Text("script/text/0/sha256", fmt.Sprintf("%x", hash.Sum(nil))).Text("script/text/0/size", size)), nil
}
