//go:build world && threebrokers

package capture_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/google/uuid"

	"github.com/millrace/millrace/ingest/broker"
)

// A batch that is larger than a segment of the topic's log is refused by the genuine Kafka, though the topic's
// max.message.bytes would take it; capture does not look at the size of segments. Its events fit one by one.
func TestABatchAboveTheLogsSegmentIsSentInSmallerOnes(t *testing.T) {
	config := anyKafka(t)
	config.Broker.Topic += "segments"
	config.AckTimeout = time.Minute // it is about what is answered, and the machine may be busy
	client, err := broker.NewClient(config.Broker)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	segment, largest := "1048576", "2162688"
	if err := admin.CreateTopic(config.Broker.Topic, &sarama.TopicDetail{
		NumPartitions: 1, ReplicationFactor: 3, ConfigEntries: map[string]*string{"segment.bytes": &segment, "max.message.bytes": &largest},
	}, false); err != nil {
		t.Fatal(err)
	}
	server := openCapture(t, config)
	var ids, events []string
	for range 4 {
		id := uuid.NewString()
		ids, events = append(ids, id), append(events, eventOf(id, 600<<10))
	}
	if got := post(t, server.URL+"/batch/", requestOf(events...)); got.code != http.StatusOK || got.Kept != len(ids) {
		t.Errorf("got %d %.300s", got.code, got.text)
	}
	wantOnce(t, config.Broker, ids)
}
