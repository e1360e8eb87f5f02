// Package promises tests the whole thread as people use it: schedules, a worker, an event store and a bucket, all real.
// What a single room promises is tested in that room.
package promises
