package folder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/millrace/millrace/destinations"
	"github.com/millrace/millrace/export"
)

// A chunk's folder has its rows, and the hash of the plan that they belong to.
const (
	rowsFile = "rows.jsonl"
	planFile = "plan"
)

// WriteChunk writes a folder aside and renames it; see destinations.Destination. A rename onto a folder that has files is
// refused, so one copy gets the name. Who finds it taken looks whose it is.
func (d *Destination) WriteChunk(ctx context.Context, task destinations.ChunkTask) (export.Receipt, error) {
	place := location(task.Run, task.Chunk.Index)
	receipt, err := d.adopt(task, place)
	if errors.Is(err, os.ErrNotExist) {
		receipt, err = d.write(ctx, task, place)
	}
	return receipt, d.explain(ctx, "write "+place, err)
}

func (d *Destination) write(ctx context.Context, task destinations.ChunkTask, place string) (export.Receipt, error) {
	if err := os.MkdirAll(d.revision(task.Run), 0o755); err != nil {
		return export.Receipt{}, err
	}
	aside, err := os.MkdirTemp(d.revision(task.Run), unfinished+task.Execution+"-")
	if err != nil {
		return export.Receipt{}, err
	}
	defer func() { _ = os.RemoveAll(aside) }()
	source, err := task.Source.Open(ctx, encoding)
	if err != nil {
		return export.Receipt{}, err
	}
	defer source.Close()
	file, err := os.Create(filepath.Join(aside, rowsFile))
	if err != nil {
		return export.Receipt{}, err
	}
	defer file.Close()
	counted := &counter{sum: sha256.New(), progress: task.Progress}
	if _, err := io.Copy(io.MultiWriter(file, counted), failing{source}); err != nil {
		return export.Receipt{}, err
	}
	switch {
	case counted.bytes > 0 && counted.last != '\n':
		return export.Receipt{}, export.Errorf(export.KindSourceUnavailable, "the source ended within a row")
	case counted.rows != task.Chunk.Rows:
		return export.Receipt{}, export.Unworkable(export.Errorf(export.KindInternal, "%d rows came, and the plan says %d", counted.rows, task.Chunk.Rows))
	}
	if err := errors.Join(file.Sync(), os.WriteFile(filepath.Join(aside, planFile), []byte(task.PlanHash), 0o644)); err != nil {
		return export.Receipt{}, err
	}
	err = os.Rename(aside, filepath.Join(d.root, place))
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, os.ErrExist) {
		return d.adopt(task, place)
	}
	return counted.receipt(task.Chunk.Index, place), err
}

// adopt makes the receipt of a chunk that is there, by reading it. os.ErrNotExist says that there is none.
func (d *Destination) adopt(task destinations.ChunkTask, place string) (export.Receipt, error) {
	plan, err := os.ReadFile(filepath.Join(d.root, place, planFile))
	if err != nil {
		return export.Receipt{}, err
	}
	if string(plan) != task.PlanHash {
		return export.Receipt{}, export.Errorf(export.KindConfig, "another plan's chunk lies there: somebody else exports into this folder by the same name")
	}
	receipt, err := d.read(task.Chunk.Index, place)
	receipt.Adopted = true
	return receipt, err
}

// read makes the receipt of the chunk at a place, from the first byte to the last.
func (d *Destination) read(chunk int, place string) (export.Receipt, error) {
	file, err := os.Open(filepath.Join(d.root, place, rowsFile))
	if err != nil {
		return export.Receipt{}, err
	}
	defer file.Close()
	counted := &counter{sum: sha256.New()}
	_, err = io.Copy(counted, file)
	return counted.receipt(chunk, place), err
}

// Prove reads every chunk; see destinations.Destination.
func (d *Destination) Prove(ctx context.Context, plan export.Plan, receipts []export.Receipt) (export.Proof, error) {
	if err := export.CheckReceipts(plan, receipts); err != nil {
		return export.Proof{}, err
	}
	proof := export.Proof{Level: export.ProofStream, PlannedRows: plan.Rows}
	for i, receipt := range receipts {
		task := destinations.ChunkTask{Run: plan.Run, Chunk: plan.Chunks[i], PlanHash: plan.Hash()}
		found, err := d.adopt(task, location(plan.Run, i))
		if err := compare(plan.Run, receipt, found, err); err != nil {
			return export.Proof{}, d.explain(ctx, "prove "+receipt.Location, err)
		}
		proof.WrittenRows += receipt.Rows
		proof.StoredBytes += receipt.Bytes
	}
	return proof, nil
}

// ReadBack has the reader compute what the file holds; see destinations.ReadsBack.
func (d *Destination) ReadBack(ctx context.Context, run export.Run, receipt export.Receipt, reader destinations.Reader) (err error) {
	defer func() { err = d.explain(ctx, "read back "+receipt.Location, err) }()
	place := location(run, receipt.Chunk)
	found, err := d.read(receipt.Chunk, place)
	if err := compare(run, receipt, found, err); err != nil || receipt.Hash == "" {
		return err
	}
	want, err := receipt.Content()
	if err != nil {
		return err
	}
	file, err := os.Open(filepath.Join(d.root, place, rowsFile))
	if err != nil {
		return err
	}
	defer file.Close()
	if same, _, err := reader.Holds(ctx, encoding, file, want); err != nil || same {
		return err
	}
	return changed(run, receipt)
}

// compare holds what was found against a receipt, which has more to tell than the file: by whom it was hashed, and when.
func compare(run export.Run, receipt, found export.Receipt, err error) error {
	found.Hash, found.ReadBack, found.Attempt, found.Adopted = receipt.Hash, receipt.ReadBack, receipt.Attempt, receipt.Adopted
	if errors.Is(err, os.ErrNotExist) || err == nil && found != receipt {
		return changed(run, receipt)
	}
	return err
}

// changed is the error of a chunk that is not as its receipt says: the revision can never be published.
func changed(run export.Run, receipt export.Receipt) error {
	return export.Unworkable(export.Errorf(export.KindData, "%s, chunk %d is not what was written: find out who changes files there", run, receipt.Chunk))
}

// counter counts the lines of what is written into it.
type counter struct {
	rows, bytes uint64
	last        byte
	sum         hash.Hash
	progress    func(uint64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.rows += uint64(bytes.Count(p, []byte("\n")))
	c.bytes += uint64(len(p))
	c.last = p[len(p)-1] // io.Copy writes no empty piece
	if c.progress != nil {
		c.progress(c.bytes)
	}
	return c.sum.Write(p)
}

func (c *counter) receipt(chunk int, place string) export.Receipt {
	return export.Receipt{Chunk: chunk, Location: place, Rows: c.rows, Bytes: c.bytes, Checksum: "sha256:" + base64.StdEncoding.EncodeToString(c.sum.Sum(nil))}
}
