package wecom

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
)

// Crypt signs, decrypts and encrypts the callbacks of one receiver (DOC 91144). The plaintext is
//
//	16 random bytes | length of the message, 4 bytes, big-endian | message | receive id
//
// padded as in PKCS#7 (RFC 5652, section 6.3) to a multiple of 32 bytes. It is encrypted by AES-256
// in CBC mode with the first half of the key as the initialization vector. The signature is the hex
// SHA-1 of token, timestamp, nonce and ciphertext, sorted and concatenated.
type Crypt struct {
	token string
	key   [32]byte
}

// padTo is the padding block size of the platform, twice that of AES.
const padTo = 32

// The errors of NewCrypt and Open.
var (
	ErrAESKey = errors.New("an EncodingAESKey is 43 letters and digits")
	ErrSealed = errors.New("the callback cannot be decrypted with this key")
)

// NewCrypt takes the token and the EncodingAESKey of a callback as WeCom's console shows them. The
// key is 43 characters of base64 for 32 bytes; the unused bits of the last one need not be zero.
// Any other key is ErrAESKey.
func NewCrypt(token, encodingAESKey string) (*Crypt, error) {
	c := &Crypt{token: token}
	if len(encodingAESKey) != 43 {
		return nil, ErrAESKey
	}
	key, err := base64.StdEncoding.DecodeString(encodingAESKey + "=")
	if err != nil || len(key) != len(c.key) {
		return nil, ErrAESKey
	}
	copy(c.key[:], key)
	return c, nil
}

// Sign returns the msg_signature of a ciphertext: 40 hex digits in lower case.
func (c *Crypt) Sign(timestamp, nonce, encrypt string) string {
	parts := []string{c.token, timestamp, nonce, encrypt}
	slices.Sort(parts)
	h := sha1.New()
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Verify reports, in constant time, whether signature is that of the ciphertext.
func (c *Crypt) Verify(signature, timestamp, nonce, encrypt string) bool {
	return subtle.ConstantTimeCompare([]byte(signature), []byte(c.Sign(timestamp, nonce, encrypt))) == 1
}

// Open decrypts a ciphertext in base64. It returns the message and its receiver: a corp id, a suite
// id, a provider's corp id, or "" for a robot. Every failure is ErrSealed, so that a sender cannot
// tell bad padding from other errors.
func (c *Crypt) Open(encrypt string) (msg []byte, receiveID string, err error) {
	sealed, err := base64.StdEncoding.DecodeString(encrypt)
	if err != nil || len(sealed) == 0 || len(sealed)%padTo != 0 {
		return nil, "", ErrSealed
	}
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(c.block(), c.key[:aes.BlockSize]).CryptBlocks(plain, sealed)
	plain, ok := unpad(plain)
	if !ok || len(plain) < 20 {
		return nil, "", ErrSealed
	}
	size, rest := uint64(binary.BigEndian.Uint32(plain[16:20])), plain[20:]
	if size > uint64(len(rest)) {
		return nil, "", ErrSealed
	}
	return rest[:size:size], string(rest[size:]), nil
}

// Seal encrypts a message as the platform does, the reverse of Open. random must be new for every
// message.
func (c *Crypt) Seal(msg []byte, receiveID string, random [16]byte) string {
	plain := append([]byte{}, random[:]...)
	plain = binary.BigEndian.AppendUint32(plain, uint32(len(msg)))
	plain = append(append(plain, msg...), receiveID...)
	n := padTo - len(plain)%padTo
	for range n {
		plain = append(plain, byte(n))
	}
	cipher.NewCBCEncrypter(c.block(), c.key[:aes.BlockSize]).CryptBlocks(plain, plain)
	return base64.StdEncoding.EncodeToString(plain)
}

func (c *Crypt) block() cipher.Block {
	b, err := aes.NewCipher(c.key[:])
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// unpad removes the padding: n bytes of value n, with n from 1 to 32. It checks all n bytes, so
// that the time taken does not depend on their values.
func unpad(plain []byte) ([]byte, bool) {
	n := int(plain[len(plain)-1])
	if n < 1 || n > padTo || n > len(plain) {
		return nil, false
	}
	good := 1
	for _, b := range plain[len(plain)-n:] {
		good &= subtle.ConstantTimeByteEq(b, byte(n))
	}
	return plain[:len(plain)-n], good == 1
}
