package s3

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
	"github.com/millrace/millrace/internal/failpoint"
)

// RemoveLeftovers removes finished objects of closed revisions, and closes those that nobody will publish any more; see
// destinations.RemovesLeftovers. The marks stay: they are what refuses a zombie. Under `order: strict` an open first revision is
// not closed here, for that would put its interval out of the order: who comes after it does, when it is in his way.
func (d *Destination) RemoveLeftovers(ctx context.Context, task destinations.LeftoverTask) (export.Leftovers, error) {
	var found export.Leftovers
	planned, err := d.plannedWithin(ctx, task)
	if err != nil {
		return found, err
	}
	for _, one := range planned {
		if one.age <= task.After || task.Published(one.run) {
			continue
		}
		of, err := d.leftoversOf(ctx, task, one)
		found.Add(of)
		if err != nil {
			return found, err
		}
	}
	return found, nil
}

// plannedRevision is a revision with a plan, as a listing shows it.
type plannedRevision struct {
	run    export.Run
	age    time.Duration // of its plan
	marked bool          // it is published or closed
}

var markOfRevision = regexp.MustCompile(`^r([0-9]{4,9})/(plan|manifest)\.json$`)

// plannedWithin lists the revisions of the runs that begin in a range.
func (d *Destination) plannedWithin(ctx context.Context, task destinations.LeftoverTask) ([]*plannedRevision, error) {
	folder := d.marksOf(export.Run{Export: task.Export})
	var all []*plannedRevision
	err := d.listAfter(ctx, folder, folder+export.Interval{Start: task.Span.Start, End: task.Span.Start}.Key(), func(key string, age time.Duration) bool {
		name, rest, _ := strings.Cut(strings.TrimPrefix(key, folder), "/")
		parts := markOfRevision.FindStringSubmatch(rest)
		interval, known := export.ParseKey(name)
		if !known || parts == nil {
			return true
		}
		if !interval.Start.Before(task.Span.End) {
			return false
		}
		revision, err := strconv.Atoi(parts[1])
		if err != nil {
			return true
		}
		run := export.Run{Export: task.Export, Interval: interval, Revision: revision}
		// Of one revision the manifest comes before the plan.
		if len(all) == 0 || all[len(all)-1].run != run {
			all = append(all, &plannedRevision{run: run})
		}
		switch last := all[len(all)-1]; parts[2] {
		case "manifest":
			last.marked = true
		case "plan":
			last.age = age
		}
		return true
	})
	return all, err
}

// leftoversOf is about one revision whose plan is old.
func (d *Destination) leftoversOf(ctx context.Context, task destinations.LeftoverTask, one *plannedRevision) (found export.Leftovers, err error) {
	content, err := d.read(ctx, d.planKey(one.run))
	if err != nil || content == nil {
		return found, err
	}
	plan, claim, err := d.readPlan(one.run, content)
	if err != nil || claim != nil { // of a claimed interval nothing may be closed but by who works it
		return found, err
	}
	if one.marked {
		mark, err := d.read(ctx, d.manifestKey(one.run))
		if err != nil || mark == nil {
			return found, err
		}
		if published, _, err := d.readCommitMark(one.run, mark); err != nil || published != nil {
			return found, err
		}
	} else {
		limit := time.Duration(plan.Definition.WithDefaults().GiveUpAfter)
		if one.age <= limit || plan.Definition.InOrder(one.run) || task.Working(one.run) {
			return found, nil
		}
		found.Revisions++
		if task.Remove {
			ending, err := d.Close(ctx, export.Closed{
				Version: export.ClosedVersion, Run: one.run, DefinitionHash: plan.DefinitionHash, By: task.By,
				Reason: fmt.Sprintf("it was planned %s ago and never published, nobody is at work on it, and what it has left is removed", one.age.Round(time.Second)),
			})
			if err != nil || ending.Published != nil {
				return export.Leftovers{}, err
			}
			found.Closed++
		}
	}
	then, err := d.asOf(plan)
	if err != nil {
		return found, err
	}
	for _, chunk := range plan.Chunks {
		if err := then.leaves(ctx, task, identity{plan: plan.Hash(), run: plan.Run, chunk: chunk.Index}, &found); err != nil {
			return found, err
		}
	}
	return found, nil
}

// asOf is the destination by the settings of a plan, which may have made other keys.
func (d *Destination) asOf(plan export.Plan) (*Destination, error) {
	form, err := readSettings(plan.Definition.Settings)
	if err != nil {
		return nil, err
	}
	then := *d
	then.prefix, then.key, then.encoding, then.strict = form.Prefix, form.Key, form.encoding(), plan.Definition.Order == export.OrderStrict
	return &then, nil
}

// leaves counts an object of a closed revision, or of one that would be, and removes it.
func (d *Destination) leaves(ctx context.Context, task destinations.LeftoverTask, whose identity, left *export.Leftovers) error {
	key := d.chunkKey(whose.run, whose.chunk)
	found, err := d.look(ctx, key)
	if err != nil || found == nil || !whose.owns(found) || found.age <= task.After {
		return err
	}
	left.Leave("s3://"+d.place.bucket+"/"+key, found.size)
	if !task.Remove {
		return nil
	}
	act := "remove " + key
	if err := failpoint.Hit(ctx, "s3.remove"); err != nil {
		return d.explain(ctx, act, err)
	}
	request, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := d.client.DeleteObject(request, &s3.DeleteObjectInput{Bucket: &d.place.bucket, Key: &key}); err != nil {
		return d.explain(ctx, act, err)
	}
	left.Removed++
	slog.Info("a file that no manifest names is removed", "run", whose.run.String(), "bucket", d.place.bucket, "key", key)
	return d.explain(ctx, act, failpoint.Hit(ctx, "s3.removed"))
}
