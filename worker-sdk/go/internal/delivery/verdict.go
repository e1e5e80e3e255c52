package delivery

import (
	"math"
	"time"

	"github.com/metafleet/metafleet/worker-sdk/go/wire"
)

// LongestNak is the longest delay for which the broker keeps a delivery; longer ones are deferred.
const LongestNak = time.Minute

// Verdict is what follows from a failed attempt.
type Verdict uint8

const (
	// GiveUp reports the failure; there is no further attempt.
	GiveUp Verdict = iota
	// Retry asks the broker for the task again after the delay.
	Retry
	// Schedule has the coordinator publish the task again, because the delay is too long to hold a delivery.
	Schedule
)

// Judge decides about the failed attempt with this number, from 1.
func Judge(policy wire.RetryPolicy, permanent bool, attempt uint32) (Verdict, time.Duration) {
	if permanent || attempt >= policy.MaxAttempts {
		return GiveUp, 0
	}
	delay := Delay(policy, attempt)
	if delay > LongestNak {
		return Schedule, delay
	}
	return Retry, delay
}

// Delay is how long to wait after the failed attempt with this number, from 1; never zero.
func Delay(policy wire.RetryPolicy, attempt uint32) time.Duration {
	ms := uint64(1000)
	if n := len(policy.DelaysMs); n > 0 {
		ms = policy.DelaysMs[min(int(max(attempt, 1)-1), n-1)]
	}
	return Millis(max(ms, 1))
}

// Millis is a number of milliseconds as a duration; absurdly large ones are cut.
func Millis(ms uint64) time.Duration {
	return time.Duration(min(ms, uint64(math.MaxInt64/int64(time.Millisecond)))) * time.Millisecond
}

// Attempt is the number of an attempt, from 1: deliveries, and what was used up before the task was published.
func Attempt(delivered uint32, used uint64) uint32 {
	return uint32(min(max(uint64(delivered)+used, 1), math.MaxUint32))
}
