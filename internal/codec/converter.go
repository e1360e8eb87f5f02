package codec

import (
	"context"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
)

// DataConverter is the SDK's own behind a codec. Within a workflow a payload that cannot be decrypted stops the workflow's
// task, which Temporal then tries again, and does not fail the workflow: a worker that was given the wrong keys must not end
// the runs of others.
func DataConverter(codec *Codec) converter.DataConverter {
	return dataConverter{converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), codec), codec}
}

// FailureConverter encrypts messages and stack traces of failures as well, if the codec encrypts. Their types, the kinds of
// error, stay clear.
func FailureConverter(codec *Codec) converter.FailureConverter {
	return temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
		DataConverter: DataConverter(codec), EncodeCommonAttributes: codec.Encrypts(),
	})
}

type dataConverter struct {
	converter.DataConverter
	codec *Codec
}

// WithContext is the same outside of workflows.
func (d dataConverter) WithContext(context.Context) converter.DataConverter { return d }

// WithWorkflowContext is a converter that panics where it cannot decrypt: by that the SDK tells that a task could not be
// worked here and now.
func (d dataConverter) WithWorkflowContext(converter.WorkflowContext) converter.DataConverter {
	return converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), insistent{d.codec})
}

// insistent panics where a payload cannot be decrypted.
type insistent struct{ *Codec }

// Decode decrypts payloads, or panics.
func (i insistent) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	decoded, err := i.Codec.Decode(payloads)
	if err != nil {
		panic(err)
	}
	return decoded, nil
}
