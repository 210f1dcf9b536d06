package config

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	textunicode "golang.org/x/text/encoding/unicode"
)

// problem is a mistake in a text, at a byte offset.
type problem struct {
	offset       int
	what, remedy string
}

// saveAsUTF8 is the remedy for a file in an encoding that is not read.
const saveAsUTF8 = "save it as UTF-8, in Excel as \"CSV UTF-8\""

// binaries are beginnings of files that are no text.
var binaries = []struct{ start, what, remedy string }{
	{"PK\x03\x04", "this is an Excel workbook (.xlsx), or another ZIP archive", "save the sheet as \"CSV UTF-8\" and name that file"},
	{"\xd0\xcf\x11\xe0", "this is an Excel workbook (.xls)", "save the sheet as \"CSV UTF-8\" and name that file"},
	{"\x1f\x8b", "this is a gzip archive", "unpack it, and name the file in it"},
}

// toUTF8 returns the text of a file in UTF-8, with a line feed at the end of each line. It reads
// UTF-8, UTF-16 with a byte order mark, and GB18030 (which includes GBK and GB2312).
func toUTF8(data []byte) ([]byte, *problem) {
	for _, b := range binaries {
		if bytes.HasPrefix(data, []byte(b.start)) {
			return nil, &problem{0, b.what, b.remedy}
		}
	}
	text, bad := decodeText(data)
	if bad != nil {
		return nil, bad
	}
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(text, []byte("\r"), []byte("\n")), nil
}

func decodeText(data []byte) ([]byte, *problem) {
	if text, found := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); found {
		data = text
	}
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		text, valid := decodeAll(textunicode.UTF16(textunicode.LittleEndian, textunicode.UseBOM), data)
		if !valid || bytes.IndexByte(text, 0) >= 0 {
			return nil, &problem{0, "the file begins as UTF-16 and is not valid UTF-16", saveAsUTF8}
		}
		return text, nil
	case bytes.IndexByte(data, 0) >= 0:
		return nil, &problem{bytes.IndexByte(data, 0), "the file has a byte 0, as UTF-16 without a byte order mark does", saveAsUTF8}
	case utf8.Valid(data):
		return data, nil
	}
	if text, valid := decodeAll(simplifiedchinese.GB18030, data); valid && looksChinese(data) {
		return text, nil
	}
	at := invalidUTF8(data)
	return nil, &problem{at, fmt.Sprintf("the byte 0x%02x is not UTF-8, and the file is not certainly GB18030 (GBK)", data[at]), saveAsUTF8}
}

// decodeAll decodes data. It reports whether all of data was valid.
func decodeAll(e encoding.Encoding, data []byte) ([]byte, bool) {
	text, err := e.NewDecoder().Bytes(data)
	return text, err == nil && !bytes.ContainsRune(text, utf8.RuneError)
}

// looksChinese reports whether text that is valid GB18030 is certainly that. Texts in Big5, Latin-1
// or damaged UTF-8 can be valid too, but few of their characters are in GB2312, whose common
// characters make up most of a Chinese text.
func looksChinese(data []byte) bool {
	common, other := 0, 0
	for i := 0; i+1 < len(data); i++ {
		lead, trail := data[i], data[i+1]
		switch {
		case lead < 0x80:
			continue
		case trail < 0x40: // four bytes
			other++
			i += 3
			continue
		case trail >= 0xa1 && (lead >= 0xb0 && lead <= 0xf7 || lead >= 0xa1 && lead <= 0xa3):
			common++
		default:
			other++
		}
		i++
	}
	return common > 2*other
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8.
func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data) - 1
}

// positionAt returns the line and column, in characters, of an offset in a text.
func positionAt(text []byte, offset int) Position {
	before := text[:min(offset, len(text))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return Position{Line: 1 + bytes.Count(before, []byte("\n")), Col: 1 + utf8.RuneCount(before[start:])}
}

// halfWidth returns the ASCII form of a full-width letter, digit, mark or blank, as Chinese input
// methods and web pages write them; "" for any other character.
func halfWidth(r rune) string {
	switch {
	case r >= 0xff01 && r <= 0xff5e:
		return string(r - 0xfee0)
	case r == '\u3000', r == '\u00a0':
		return " "
	}
	return map[rune]string{'“': `"`, '”': `"`, '‘': "'", '’': "'", '、': ",", '。': ".", '【': "[", '】': "]", '—': "-"}[r]
}

// narrow replaces all full-width characters of a text by their ASCII forms.
func narrow(text string) string {
	var out bytes.Buffer
	for _, r := range text {
		if ascii := halfWidth(r); ascii != "" {
			out.WriteString(ascii)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// widthRemedy returns the remedy for a word that contains a full-width character, else the other
// one.
func widthRemedy(word, other string) string {
	for _, r := range word {
		switch remedy := asciiRemedy(r); {
		case halfWidth(r) == " ":
			return fmt.Sprintf("it has the blank U+%04X: %s", r, remedy)
		case remedy != "":
			return fmt.Sprintf("%q is full-width: %s", r, remedy)
		}
	}
	return other
}

// widthAt returns how many characters of a word are before its first full-width one, 0 if it has
// none.
func widthAt(word string) int {
	for i, r := range word {
		if halfWidth(r) != "" {
			return utf8.RuneCountInString(word[:i])
		}
	}
	return 0
}

// asciiRemedy says what to write for a full-width character; "" for any other character.
func asciiRemedy(r rune) string {
	switch ascii := halfWidth(r); ascii {
	case "":
		return ""
	case " ":
		return "write an ASCII blank instead, or none"
	case ":":
		return "write an ASCII : and a blank instead"
	default:
		return "write an ASCII " + ascii + " instead"
	}
}
