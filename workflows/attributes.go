package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/namespace"
)

// Search attributes by which people find runs in the Temporal UI. `millrace setup` creates them.
var (
	AttributeExport      = temporal.NewSearchAttributeKeyKeyword("MillraceExport")
	AttributeDestination = temporal.NewSearchAttributeKeyKeyword("MillraceDestination")
	AttributeIntervalEnd = temporal.NewSearchAttributeKeyTime("MillraceIntervalEnd")
	AttributeErrorKind   = temporal.NewSearchAttributeKeyKeyword("MillraceErrorKind")
)

// SearchAttributes lists the attributes that a namespace needs, with their types.
func SearchAttributes() namespace.Attributes {
	return namespace.Attributes{
		AttributeExport.GetName():      enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		AttributeDestination.GetName(): enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		AttributeIntervalEnd.GetName(): enumspb.INDEXED_VALUE_TYPE_DATETIME,
		AttributeErrorKind.GetName():   enumspb.INDEXED_VALUE_TYPE_KEYWORD,
	}
}

// scheduledStart is the nominal time at which a schedule's action was due, which the server notes on the workflow;
// for a trigger it is the moment of the trigger. Zero when no schedule started the workflow.
var scheduledStart = temporal.NewSearchAttributeKeyTime("TemporalScheduledStartTime")

// RunsOf is the list filter of the runs of an export. One that no worker has taken up yet has no attributes of ours, but the
// server notes which schedule started it.
func RunsOf(name string) string {
	return fmt.Sprintf("WorkflowType = %q AND (%s = %q OR TemporalScheduledById = %q)", NameExport, AttributeExport.GetName(), name, name)
}

// ReconciliationsOf is the list filter of the reconciliations of an export that have ended.
func ReconciliationsOf(name string) string {
	return fmt.Sprintf("WorkflowType = %q AND %s = %q AND ExecutionStatus != \"Running\"", NameReconcile, AttributeExport.GetName(), name)
}

func nominalStart(ctx workflow.Context) time.Time {
	at, _ := workflow.GetTypedSearchAttributes(ctx).GetTime(scheduledStart)
	return at
}

// showRun puts the run's search attributes on the workflow, also on one that was started by hand.
func showRun(ctx workflow.Context, definition export.Definition, run export.Run) error {
	return workflow.UpsertTypedSearchAttributes(ctx,
		AttributeExport.ValueSet(definition.Name),
		AttributeDestination.ValueSet(definition.Destination),
		AttributeIntervalEnd.ValueSet(run.End),
	)
}
