package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/millrace/millrace/activities"
	"github.com/millrace/millrace/export"
)

// maxShows bounds how often chunks whose uploads are gone are written again before their files show: somebody or something
// takes them back each time.
const maxShows = 5

// showInOrder has the files of a run appear, in order and when it is the run's turn, and then has them read back, for nobody
// could read them before. The mark is that of a revision that somebody closed meanwhile.
func (r *exportRun) showInOrder(ctx workflow.Context) (*export.Closed, error) {
	for round := 1; ; round++ {
		r.at(ctx, "showing")
		var shown activities.Shown
		task := activities.FinishTask{Plan: *r.plan, Receipts: r.receipts}
		summary := fmt.Sprintf("show %s in order", plural(len(r.receipts), "file"))
		if err := workflow.ExecuteActivity(r.longStep(ctx, summary), steps.ShowRun, task).Get(ctx, &shown); err != nil {
			return nil, err
		}
		if shown.Closed != nil {
			return shown.Closed, nil
		}
		if len(shown.Lost) == 0 {
			r.receipts = shown.Receipts
			return nil, r.readShown(ctx)
		}
		if round == maxShows {
			return nil, temporal.NewNonRetryableApplicationError(
				fmt.Sprintf("what was written of %s is gone each time before it shows: see what ends uploads in the bucket, such as a lifecycle rule", plural(len(shown.Lost), "chunk")), string(export.KindDestinationUnavailable), nil)
		}
		var again []export.Chunk
		for _, index := range shown.Lost {
			again = append(again, r.plan.Chunks[index])
			r.progress.ChunksDone--
			r.progress.RowsDone -= r.receipts[index].Rows
			r.progress.BytesDone -= r.receipts[index].Bytes
		}
		if err := r.writeSome(ctx, again); err != nil {
			return nil, err
		}
	}
}

// readShown has the files read back that show now.
func (r *exportRun) readShown(ctx workflow.Context) error {
	if r.plan.Definition.Proof != export.ProofReadback {
		return nil
	}
	r.at(ctx, "proving")
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	selector := workflow.NewSelector(ctx)
	var failed error
	pending := 0
	hash := r.plan.Hash()
	for i, receipt := range r.receipts {
		if receipt.ReadBack {
			continue
		}
		pending++
		task := activities.ShownChunk{Receipt: receipt, ChunkTask: activities.ChunkTask{
			RunTask: activities.RunTask{Definition: r.plan.Definition, Run: r.run}, PlanHash: hash, Chunk: r.plan.Chunks[i],
		}}
		summary := fmt.Sprintf("read back chunk %d/%d, %s rows", i+1, len(r.receipts), count(receipt.Rows))
		selector.AddFuture(workflow.ExecuteActivity(r.chunkStep(ctx, summary), steps.ReadShown, task), func(done workflow.Future) {
			if err := done.Get(ctx, &r.receipts[i]); err != nil && failed == nil {
				failed = err
				cancel()
			}
		})
	}
	for range pending {
		selector.Select(ctx)
	}
	return failed
}

// outOfSight are the receipts of chunks that do not show yet.
func (r *exportRun) outOfSight() []export.Receipt {
	var receipts []export.Receipt
	for _, receipt := range r.receipts {
		if receipt.Upload != "" {
			receipts = append(receipts, receipt)
		}
	}
	return receipts
}
