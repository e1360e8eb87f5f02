package broker_test

import (
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/ingest/broker"
)

// Apache Kafka's metadata names a new topic's leaders before all of them know that they lead.
func TestSetupWaitsUntilTheLeadersOfANewTopicKnowThatTheyLead(t *testing.T) {
	cluster, config := startKafka(t)
	var refused atomic.Int64
	cluster.ControlKey(int16(kmsg.ListOffsets), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if refused.Add(1) > 6 {
			return nil, nil, false
		}
		cluster.KeepControl()
		asked := request.(*kmsg.ListOffsetsRequest)
		answer := asked.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range asked.Topics {
			refusing := kmsg.NewListOffsetsResponseTopic()
			refusing.Topic = topic.Topic
			for _, partition := range topic.Partitions {
				p := kmsg.NewListOffsetsResponseTopicPartition()
				p.Partition, p.ErrorCode = partition.Partition, int16(sarama.ErrNotLeaderForPartition)
				refusing.Partitions = append(refusing.Partitions, p)
			}
			answer.Topics = append(answer.Topics, refusing)
		}
		return answer, nil, true
	})
	ensured, err := broker.EnsureTopic(t.Context(), config, broker.Settings{})
	if err != nil || !ensured.Created {
		t.Fatalf("created %t, error %v", ensured.Created, err)
	}
	if refused.Load() <= 6 {
		t.Errorf("it was content while the leaders refused: %d questions", refused.Load())
	}
}
