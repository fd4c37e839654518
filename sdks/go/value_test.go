package marque

import (
	"encoding/json"
	"net/url"
	"reflect"
	"testing"
	"time"
)

func TestOptKeepsAbsentNullAndValueApart(t *testing.T) {
	t.Parallel()
	type patch struct {
		A Opt[string]   `json:"a,omitzero"`
		B Opt[int]      `json:"b,omitzero"`
		C Opt[[]string] `json:"c,omitzero"`
	}
	for text, want := range map[string]patch{
		`{}`:                  {},
		`{"a":null}`:          {A: Null[string]()},
		`{"a":"","b":0}`:      {A: Value(""), B: Value(0)},
		`{"b":null,"c":[]}`:   {B: Null[int](), C: Value([]string{})},
		`{"a":"x","c":["y"]}`: {A: Value("x"), C: Value([]string{"y"})},
	} {
		var got patch
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s became %v (%v)", text, got, err)
		}
		if again, err := json.Marshal(want); err != nil || string(again) != text {
			t.Errorf("%v became %s (%v), want %s", want, again, err, text)
		}
	}
	if err := json.Unmarshal([]byte(`{"b":"x"}`), new(patch)); err == nil {
		t.Error("a value of another type was accepted")
	}
	var absent Opt[int]
	if v, ok := Value(3).Get(); v != 3 || !ok || absent.Or(4) != 4 || Value(3).Or(4) != 3 || !Null[int]().IsNull() || absent.IsNull() {
		t.Error("Get, Or or IsNull is wrong")
	}
	if got := absent.String() + Null[int]().String() + Value(5).String() + Value(Secret("mqs_1")).String(); got != "absentnull5[secret]" {
		t.Errorf("printed as %s", got)
	}
}

func TestASecretIsMaskedInJSONAndReadFromIt(t *testing.T) {
	t.Parallel()
	var issued IssuedClientSecret
	if err := json.Unmarshal([]byte(`{"client_secret":"mqs_1"}`), &issued); err != nil || issued.ClientSecret.Reveal() != "mqs_1" {
		t.Fatal(issued.ClientSecret.Reveal(), err)
	}
	b, err := json.Marshal(struct{ S Secret }{issued.ClientSecret})
	if err != nil || string(b) != `{"S":"[secret]"}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestParametersLeaveZeroValuesOut(t *testing.T) {
	t.Parallel()
	type kind string
	values := url.Values{}
	at := time.Date(2026, 11, 2, 10, 30, 0, 0, time.FixedZone("", 3600))
	for name, v := range map[string]any{
		"empty": "", "zero": 0, "none": []string(nil), "nil": (*bool)(nil), "never": time.Time{}, "nothing": nil,
		"text": "a b", "kind": kind("agent"), "number": 50, "list": []string{"a=1", "b=2"}, "false": new(false), "time": at, "secret": Secret("mqs_1"),
	} {
		setParam(values, name, v)
	}
	if got, want := values.Encode(), "false=false&kind=agent&list=a%3D1&list=b%3D2&number=50&secret=mqs_1&text=a+b&time=2026-11-02T09%3A30%3A00Z"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
