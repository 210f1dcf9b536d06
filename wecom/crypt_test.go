package wecom_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"replygate/store/storetest"
	"replygate/wecom"
)

// vector is one of testdata/wecom/crypto_vectors.json.
type vector struct {
	Name      string `json:"name"`
	Token     string `json:"token"`
	Key       string `json:"aeskey"`
	ReceiveID string `json:"receiveid"`
	Timestamp string `json:"timestamp"`
	Nonce     string `json:"nonce"`
	Signature string `json:"msg_signature"`
	Encrypt   string `json:"encrypt"`
	Plaintext string `json:"plaintext"`
	Random    string `json:"random16_hex"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("../testdata/wecom/crypto_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 12 {
		t.Fatalf("%d vectors", len(all))
	}
	return all
}

func crypt(t testing.TB, token, key string) *wecom.Crypt {
	t.Helper()
	c, err := wecom.NewCrypt(token, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every known message of the platform opens, its signature is right, and sealing it again gives the
// same bytes.
func TestCryptVectors(t *testing.T) {
	all := vectors(t)
	for _, v := range all {
		c := crypt(t, v.Token, cmp.Or(v.Key, all[0].Key)) // one has a signature alone
		if v.Signature != "" && !c.Verify(v.Signature, v.Timestamp, v.Nonce, v.Encrypt) {
			t.Errorf("%s: the signature is %s, want %s", v.Name, c.Sign(v.Timestamp, v.Nonce, v.Encrypt), v.Signature)
		}
		if v.Key == "" {
			continue
		}
		msg, id, err := c.Open(v.Encrypt)
		if err != nil || string(msg) != v.Plaintext || id != v.ReceiveID {
			t.Errorf("%s: opened as %q for %q, %v", v.Name, msg, id, err)
			continue
		}
		var random [16]byte
		if n, err := hex.Decode(random[:], []byte(v.Random)); err != nil || n != 16 {
			t.Fatalf("%s: random %s", v.Name, v.Random)
		}
		if sealed := c.Seal(msg, id, random); sealed != v.Encrypt {
			t.Errorf("%s: sealed again as %s", v.Name, sealed)
		}
	}
}

// A callback of which one byte is another does not verify, and one sealed otherwise does not open.
func TestCryptRefuses(t *testing.T) {
	v := vectors(t)[1]
	c := crypt(t, v.Token, v.Key)
	for i := range v.Encrypt {
		forged := v.Encrypt[:i] + string(v.Encrypt[i]^1) + v.Encrypt[i+1:]
		if c.Verify(v.Signature, v.Timestamp, v.Nonce, forged) {
			t.Fatalf("byte %d may be another", i)
		}
	}
	for _, sig := range []string{"", strings.ToUpper(v.Signature), v.Signature[:39], v.Signature + "0"} {
		if c.Verify(sig, v.Timestamp, v.Nonce, v.Encrypt) {
			t.Errorf("signature %q verifies", sig)
		}
	}
	other := crypt(t, v.Token, vectors(t)[4].Key)
	for _, sealed := range []string{"", "AAAA", "no base64", v.Encrypt[:44], other.Seal([]byte("hello"), "", [16]byte{})} {
		if _, _, err := c.Open(sealed); err == nil {
			t.Errorf("%q opens", sealed)
		}
	}
	for _, key := range []string{"", v.Key[:42], v.Key + "A", strings.Repeat("-", 43)} {
		if _, err := wecom.NewCrypt("t", key); err == nil {
			t.Errorf("key %q is taken", key)
		}
	}
}

// Padding is 1 to 32 bytes, all of the same value, and the length inside never reaches beyond the
// text.
func TestCryptEveryLength(t *testing.T) {
	c := crypt(t, "token", vectors(t)[0].Key)
	for n := range 100 {
		msg := strings.Repeat("x", n)
		got, id, err := c.Open(c.Seal([]byte(msg), "ww1", [16]byte{1, 2, 3}))
		if err != nil || string(got) != msg || id != "ww1" {
			t.Fatalf("%d bytes: %q for %q, %v", n, got, id, err)
		}
	}
}

// The platform's own library opens what Crypt seals, seals and signs the same, and reads the same
// back.
func TestCryptAgainstThePlatformsLibrary(t *testing.T) {
	const dir = "../testdata/clients/wecom-crypto"
	node := storetest.Need(t, "node")
	storetest.NeedModule(t, dir, "@wecom/crypto")
	type question struct {
		Token     string `json:"token"`
		Timestamp string `json:"timestamp"`
		Nonce     string `json:"nonce"`
		Key       string `json:"key"`
		Message   string `json:"message"`
		ID        string `json:"id"`
		Random    string `json:"random"`
		Sealed    string `json:"sealed"`
	}
	random := rand.New(rand.NewPCG(1, 2))
	keys := []string{vectors(t)[0].Key, vectors(t)[3].Key, vectors(t)[4].Key, vectors(t)[6].Key}
	var asked []question
	var in bytes.Buffer
	for n := range 200 {
		var noise [16]byte
		binary.LittleEndian.PutUint64(noise[:], random.Uint64())
		q := question{
			Token: fmt.Sprintf("token%d", n), Timestamp: fmt.Sprint(random.Uint32()), Nonce: fmt.Sprintf("%x", random.Uint64()),
			Key: keys[n%len(keys)], Message: strings.Repeat("消息 <&> ", n%40) + fmt.Sprint(n), ID: []string{"ww1", "", "wwSuite"}[n%3],
			Random: hex.EncodeToString(noise[:]),
		}
		q.Sealed = crypt(t, q.Token, q.Key).Seal([]byte(q.Message), q.ID, noise)
		asked = append(asked, q)
		if err := json.NewEncoder(&in).Encode(q); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(node, "oracle.js")
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for _, q := range asked {
		var a struct{ Sealed, Signature, Message, ID string }
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		c := crypt(t, q.Token, q.Key)
		if a.Sealed != q.Sealed || a.Signature != c.Sign(q.Timestamp, q.Nonce, q.Sealed) || a.Message != q.Message || a.ID != q.ID {
			t.Fatalf("asked %+v\nanswered %+v", q, a)
		}
		msg, id, err := c.Open(a.Sealed)
		if err != nil || string(msg) != q.Message || id != q.ID {
			t.Fatalf("opened as %q for %q, %v", msg, id, err)
		}
	}
}
