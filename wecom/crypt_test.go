package wecom_test

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"replygate/store/storetest"
	"replygate/wecom"
)

// vector is one entry of testdata/wecom/crypto_vectors.json.
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

// The vectors of the platform verify and open, and sealing them again gives the same bytes.
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

// A change of any byte breaks the signature. Other ciphertexts and keys are rejected.
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

// Messages of every length relative to the padding block survive Seal and Open.
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

// Crypt and WeCom's own library produce the same bytes and open each other's.
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

// encrypt encrypts a whole number of blocks, valid or not, with an EncodingAESKey.
func encrypt(t *testing.T, key string, plain []byte) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(key + "=")
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		t.Fatal(err)
	}
	sealed := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, raw[:aes.BlockSize]).CryptBlocks(sealed, plain)
	return base64.StdEncoding.EncodeToString(sealed)
}

// plaintext builds a plaintext of the platform from a length and a padding, which may be wrong.
func plaintext(size uint32, rest string, padding ...byte) []byte {
	plain := binary.BigEndian.AppendUint32(make([]byte, 16), size)
	return append(append(plain, rest...), padding...)
}

// Every malformed plaintext is the same error, so that a sender learns nothing about the padding.
func TestOpenChecksThePlaintext(t *testing.T) {
	t.Parallel()
	key := vectors(t)[0].Key
	c := crypt(t, "token", key)
	pad := func(n int) []byte { return bytes.Repeat([]byte{byte(n)}, n) }
	for name, test := range map[string]struct {
		plain   []byte
		msg, id string
		bad     bool
	}{
		"a message":                {plaintext(5, "helloww1", pad(4)...), "hello", "ww1", false},
		"no message":               {plaintext(0, "ww1456789", pad(3)...), "", "ww1456789", false},
		"no receiver":              {plaintext(9, "123456789", pad(3)...), "123456789", "", false},
		"nothing at all":           {plaintext(0, "", pad(12)...), "", "", false},
		"a whole block of padding": {plaintext(12, "123456789012", pad(32)...), "123456789012", "", false},
		"one byte of padding":      {plaintext(11, "12345678901", pad(1)...), "12345678901", "", false},
		"a length beyond the text": {plaintext(10, "123456789", pad(3)...), "", "", true},
		"the longest length":       {plaintext(1<<32-1, "123456789", pad(3)...), "", "", true},
		"padding of 0":             {plaintext(5, "hello", 0, 0, 0, 0, 0, 0, 0), "", "", true},
		"padding of 33":            {append(plaintext(0, strings.Repeat("x", 11)), pad(33)...), "", "", true},
		"padding beyond the text":  {append(make([]byte, 31), 32+1), "", "", true},
		"a wrong byte in it":       {plaintext(9, "123456789", 3, 2, 3), "", "", true},
		"a wrong first byte in it": {plaintext(9, "123456789", 2, 3, 3), "", "", true},
		"less than a length":       {append(make([]byte, 19), pad(13)...), "", "", true},
		"padding alone":            {pad(32), "", "", true},
	} {
		msg, id, err := c.Open(encrypt(t, key, test.plain))
		if test.bad {
			if !errors.Is(err, wecom.ErrSealed) || msg != nil || id != "" {
				t.Errorf("%s: %q for %q, %v", name, msg, id, err)
			}
		} else if err != nil || string(msg) != test.msg || id != test.id {
			t.Errorf("%s: %q for %q, %v; want %q for %q", name, msg, id, err, test.msg, test.id)
		}
	}
}

// Every malformed ciphertext is the same error.
func TestOpenChecksTheCiphertext(t *testing.T) {
	t.Parallel()
	c := crypt(t, "token", vectors(t)[0].Key)
	sealed := c.Seal([]byte("hello"), "ww1", [16]byte{})
	for name, text := range map[string]string{
		"empty": "", "not base64": "%%%%", "half a block": base64.StdEncoding.EncodeToString(make([]byte, 16)), "one and a half": base64.StdEncoding.EncodeToString(make([]byte, 48)),
		"without its padding": strings.TrimRight(sealed, "="), "as in URLs": strings.NewReplacer("+", "-", "/", "_").Replace(sealed) + "-_", "with a blank": " " + sealed,
		"all zero": base64.StdEncoding.EncodeToString(make([]byte, 32)),
	} {
		if strings.HasSuffix(name, "padding") && !strings.HasSuffix(sealed, "=") {
			continue
		}
		if msg, _, err := c.Open(text); !errors.Is(err, wecom.ErrSealed) {
			t.Errorf("%s: %q, %v", name, msg, err)
		}
	}
}

// Keys have 43 characters of base64. The unused bits of the last one do not matter.
func TestEncodingAESKeys(t *testing.T) {
	t.Parallel()
	const zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for key, good := range map[string]bool{
		zero + "A": true, zero + "B": true, zero + "9": true, zero + "/": true, zero: false, zero + "AA": false, zero + "=": false,
		zero + "-": false, zero + " ": false, zero + "\n": false, "": false,
	} {
		if _, err := wecom.NewCrypt("token", key); (err == nil) != good || err != nil && !errors.Is(err, wecom.ErrAESKey) {
			t.Errorf("%q: %v", key, err)
		}
	}
	same := crypt(t, "token", zero+"A").Seal([]byte("x"), "", [16]byte{})
	if got := crypt(t, "token", zero+"B").Seal([]byte("x"), "", [16]byte{}); got != same {
		t.Error("stray bits of the last character change the key")
	}
}

// The signature depends on its four parts but not on their order.
func TestSignature(t *testing.T) {
	t.Parallel()
	key := vectors(t)[0].Key
	c := crypt(t, "token", key)
	base := c.Sign("1700000000", "nonce", "text")
	if want := fmt.Sprintf("%x", sha1.Sum([]byte("1700000000"+"nonce"+"text"+"token"))); base != want {
		t.Errorf("%s, want %s", base, want)
	}
	for what, got := range map[string]string{
		"token": crypt(t, "other", key).Sign("1700000000", "nonce", "text"), "timestamp": c.Sign("1700000001", "nonce", "text"),
		"nonce": c.Sign("1700000000", "nonce2", "text"), "text": c.Sign("1700000000", "nonce", "texT"),
	} {
		if got == base {
			t.Errorf("another %s has the same signature", what)
		}
	}
	if c.Sign("nonce", "1700000000", "text") != base {
		t.Error("the parts are not sorted")
	}
	if !c.Verify(base, "1700000000", "nonce", "text") || c.Verify(base, "1700000000", "nonce", "text2") {
		t.Error("Verify does not agree with Sign")
	}
}

// A Crypt is safe for concurrent use.
func TestCryptConcurrently(t *testing.T) {
	t.Parallel()
	c := crypt(t, "token", vectors(t)[0].Key)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 200 {
				want := fmt.Sprintf("message %d of %d", n, i)
				if got, id, err := c.Open(c.Seal([]byte(want), "ww1", [16]byte{byte(i), byte(n)})); err != nil || string(got) != want || id != "ww1" {
					t.Errorf("%q for %q, %v", got, id, err)
					return
				}
			}
		})
	}
	all.Wait()
}
