package jose

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStrictJSON(t *testing.T) {
	t.Parallel()
	accepted := []string{
		`{}`, `[]`, `""`, `0`, `-0`, `1.5e+10`, `-12.25E-3`, `true`, `false`, `null`,
		" {\n\t\"a\" : [ 1 , 2 ] }\r\n", `{"a":1,"b":1}`, `[{"a":1},{"a":1}]`, `{"a":{"a":{"a":1}}}`,
		`"\"\\\/\b\f\n\r\t\u0041\ud83d\ude00"`, `{"é":1,"e":2}`, `{"":1}`, `{"a":"A"}`,
		`18446744073709551615`,
	}
	for _, text := range accepted {
		if err := CheckJSON([]byte(text), 4); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%s: not JSON at all", text)
		}
	}
	refused := []string{
		``, ` `, `{`, `[`, `"`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{a:1}`, `{'a':1}`, `{1:1}`,
		`nul`, `nulll`, `True`, `tru`, `undefined`, `NaN`, `Infinity`, `01`, `-`, `+1`, `1.`, `.5`, `1e`, `1e+`, `0x1`, `--1`,
		`"a`, `"\`, `"\u`, `"\u12"`, `"\u12g4"`, `"\a"`, "\"\x01\"", "\"\n\"", "\"\xff\"", "\xef\xbb\xbf{}", "{}\x00", `{}{}`, `1 2`,
		`"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\ud800\u0041"`, `"\ud800x"`,
		`{"a":1,"a":1}`, `{"a":1,"A":1}`, `{"a":1,"\u0061":1}`, `{"k":1,"` + "\u212a" + `":1}`, `{"s":1,"` + "\u017f" + `":1}`,
		`{"É":1,"é":1}`, `{"b":{"a":1,"a":1}}`, `[{"a":1,"A":1}]`, `{"` + "\U0001F600" + `":1,"\ud83d\ude00":2}`,
		`[[[[[1]]]]]`, `{"a":{"a":{"a":{"a":{}}}}}`, `1` + strings.Repeat("0", 32),
	}
	for _, text := range refused {
		if err := CheckJSON([]byte(text), 4); err == nil {
			t.Errorf("%q: accepted", text)
		}
	}
}

func TestObjectsHaveFewMembers(t *testing.T) {
	t.Parallel()
	object := func(n int) []byte {
		b := []byte(`{"":{`)
		for i := range n {
			b = fmt.Appendf(b, `"%d":0,`, i)
		}
		return append(b[:len(b)-1], "}}"...)
	}
	if err := CheckJSON(object(maxMembers), 2); err != nil {
		t.Error(err)
	}
	if err := CheckJSON(object(maxMembers+1), 2); err == nil {
		t.Error("accepted")
	}
}

func TestAnErrorRepeatsNothingOfTheText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"mqs_secret":1,"mqs_secret":2}`, `mqs_secret`, `{"a":mqs_secret}`, `"mqs_secret\q"`} {
		if err := CheckJSON([]byte(text), 4); err == nil || strings.Contains(err.Error(), "mqs_secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestMembersAreNamedExactly(t *testing.T) {
	t.Parallel()
	got, err := ParseObject([]byte(` { "a" : 1 , "\u0062\n" : [ { "c" : 2 } ] , "D":"x\ty" } `), 4)
	if err != nil {
		t.Fatal(err)
	}
	want := []Member{{"a", []byte(`1`)}, {"b\n", []byte(`[ { "c" : 2 } ]`)}, {"D", []byte(`"x\ty"`)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{`[]`, `1`, `null`, `[{"a":1}]`} {
		if _, err := ParseObject([]byte(text), 4); err == nil {
			t.Errorf("%s: taken for an object", text)
		}
	}
}
