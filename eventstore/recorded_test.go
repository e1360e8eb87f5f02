package eventstore

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/recorded"
)

// The answers are those of real servers; recorded_world_test.go holds them against one.
func TestRecordedAnswersGetTheirKind(t *testing.T) {
	for _, server := range recorded.Read(t, ".") {
		for _, answer := range server.Answers {
			code, err := strconv.ParseInt(answer.Code, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			err = Classify(fmt.Errorf("look: %w", newException(int32(code), answer.Message)))
			if export.KindOf(err) != answer.Kind {
				t.Errorf("%s, %s: %s is %s, want %s", server.Name, answer.Situation, answer.Code, export.KindOf(err), answer.Kind)
			}
		}
	}
}
