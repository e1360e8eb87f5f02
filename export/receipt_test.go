package export

import (
	"encoding/json"
	"strings"
	"testing"
)

// Every receipt is in the run's history, a thousand of them at most.
func TestAReceiptStaysShort(t *testing.T) {
	for name, most := range map[string]int{strings.Repeat("n", 45): 300, strings.Repeat("n", 63): 320} {
		receipt := Receipt{
			Chunk: 999, Location: name + "/20261123T100000Z--20261123T110000Z/r0001-00999.jsonl.zst", ETag: strings.Repeat("e", 32) + "-1234",
			Rows: 1_000_000, Bytes: 123_456_789, Checksum: "crc64nvme:AAAAAAAAAAA=", Attempt: 1,
			Hash: Content{Hash: 1<<64 - 1}.HashText(), ReadBack: true, Adopted: true,
		}
		encoded, err := json.Marshal(receipt)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d letters of name, %d bytes", len(name), len(encoded))
		if len(encoded) > most {
			t.Errorf("the receipt of an export with a name of %d letters has %d bytes of JSON, want at most %d: %s", len(name), len(encoded), most, encoded)
		}
	}
}

func TestContentsAreWrittenAndReadTheSame(t *testing.T) {
	for _, content := range []Content{{}, {Rows: 1, Hash: 5}, {Rows: 1 << 40, Hash: 1<<64 - 1}} {
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		var read Content
		if err := json.Unmarshal(text, &read); err != nil || read != content {
			t.Errorf("%s is read as %s, %v", text, read, err)
		}
	}
	for _, wrong := range []string{`{"rows":1,"hash":""}`, `{"rows":1,"hash":"5"}`, `{"rows":1,"hash":"000000000000000g"}`, `{"rows":1,"hash":5}`} {
		if err := json.Unmarshal([]byte(wrong), new(Content)); err == nil {
			t.Errorf("%s is read as a content", wrong)
		}
	}
	if sum := (Content{Rows: 1, Hash: 1<<64 - 1}).Plus(Content{Rows: 2, Hash: 3}); sum != (Content{Rows: 3, Hash: 2}) {
		t.Errorf("the sum is %s", sum)
	}
}

// A proof says readback only when every chunk was read back, and it was asked for.
func TestALevelOfProofIsReachedByAllChunks(t *testing.T) {
	receipt := func(rows uint64, hash uint64, readBack bool) Receipt {
		return Receipt{Rows: rows, Hash: Content{Hash: hash}.HashText(), ReadBack: readBack}
	}
	for _, c := range []struct {
		what, asked string
		receipts    []Receipt
		want        string
	}{
		{"all were read back", ProofReadback, []Receipt{receipt(1, 2, true), receipt(3, 4, true)}, ProofReadback},
		{"one was not", ProofReadback, []Receipt{receipt(1, 2, true), receipt(3, 4, false)}, ProofStream},
		{"nobody asked", ProofStream, []Receipt{receipt(1, 2, true), receipt(3, 4, true)}, ProofStream},
		{"there is none", ProofReadback, nil, ProofReadback},
	} {
		proof, err := Proof{Level: ProofStream}.WithContents(c.asked, c.receipts)
		if err != nil || proof.Level != c.want || (proof.Stored != nil) != (c.want == ProofReadback) || proof.Source == nil {
			t.Errorf("%s: %+v, %v", c.what, proof, err)
		}
		if len(c.receipts) == 2 && *proof.Source != (Content{Rows: 4, Hash: 6}) {
			t.Errorf("%s: the source has %s", c.what, proof.Source)
		}
	}
	if _, err := (Proof{}).WithContents(ProofStream, []Receipt{{Rows: 1}}); err == nil {
		t.Error("a receipt without a hash adds up")
	}
}

// What closes a revision keeps its kind, and is told from everything else.
func TestUnworkableErrorsKeepTheirKind(t *testing.T) {
	err := Unworkable(Errorf(KindData, "chunk 3 has other rows"))
	if !IsUnworkable(err) || KindOf(err) != KindData || err.Error() != "chunk 3 has other rows" {
		t.Errorf("%v (%s)", err, KindOf(err))
	}
	if IsUnworkable(Errorf(KindData, "a row cannot be written")) || Unworkable(nil) != nil {
		t.Error("what is not marked is told as unworkable")
	}
}

// What stands at a commit mark is a manifest or a closed revision, and a later version is neither.
func TestACommitMarkIsOneOfTwoThings(t *testing.T) {
	for text, want := range map[string]string{
		`{"version":1,"rows":5}`:                  "manifest",
		`{"version":2,"closed":"a proof failed"}`: "closed",
		`{"version":2,"rows":5}`:                  "",
		`{"version":1,"closed":"old"}`:            "",
		`{"version":3,"closed":"new"}`:            "",
		`not JSON`:                                "",
	} {
		manifest, closed, err := ReadCommitMark([]byte(text))
		got := ""
		switch {
		case err != nil:
		case manifest != nil && closed == nil:
			got = "manifest"
		case closed != nil && manifest == nil:
			got = "closed"
		}
		if got != want {
			t.Errorf("%s is read as %q, %v", text, got, err)
		}
	}
}
