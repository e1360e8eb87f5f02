package s3

import (
	"testing"
	"time"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/recorded"
)

// The answers are those of real stores, sent again as the store sent them; recorded_world_test.go holds them against one.
func TestRecordedAnswersGetTheirKind(t *testing.T) {
	t.Parallel()
	for _, server := range recorded.Read(t, ".") {
		for _, answer := range server.Answers {
			t.Run(server.Name+" "+answer.Situation, func(t *testing.T) {
				t.Parallel()
				_, err := openAt(t, answering(t, answer.Status, answer.Code, answer.Message)).Published(t.Context(), runAt(tenOClock, time.Hour))
				if export.KindOf(err) != answer.Kind {
					t.Errorf("got %v (%s), want %s", err, export.KindOf(err), answer.Kind)
				}
			})
		}
	}
}
