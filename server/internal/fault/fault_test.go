package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
)

func TestAnErrorThatIsNoFaultBecomesInternalAndKeepsItsTextPrivate(t *testing.T) {
	t.Parallel()
	f := fault.From(errors.New("dial tcp 10.1.2.3: password mqs_x"))
	if f.Kind != fault.KindInternal || f.Code != fault.CodeInternal {
		t.Fatalf("kind %v, code %v", f.Kind, f.Code)
	}
	if strings.Contains(f.Detail, "10.1.2.3") || len(f.Fields) != 0 {
		t.Errorf("the public detail repeats the cause: %q", f.Detail)
	}
	if !strings.Contains(f.Error(), "10.1.2.3") {
		t.Errorf("the log lacks the cause: %q", f.Error())
	}
}

func TestAFaultIsFoundBehindWrapping(t *testing.T) {
	t.Parallel()
	wrapped := fmt.Errorf("while reading: %w", fault.NotFound("role"))
	if f := fault.From(wrapped); f.Kind != fault.KindNotFound {
		t.Errorf("kind %v", f.Kind)
	}
	if !fault.Is(wrapped, fault.CodeNotFound) || fault.Is(wrapped, fault.CodeInternal) || fault.Is(nil, fault.CodeNotFound) {
		t.Error("Is does not tell codes apart")
	}
	if fault.From(nil) != nil {
		t.Error("From(nil) is a fault")
	}
}

func TestAddingACauseOrADelayLeavesTheOriginalAlone(t *testing.T) {
	t.Parallel()
	original := fault.Unavailable(nil)
	cause := errors.New("disk full")
	changed := original.Because(cause).After(7 * time.Second)
	if original.RetryAfter != time.Second || errors.Unwrap(original) != nil {
		t.Errorf("the original changed: %+v", original)
	}
	if changed.RetryAfter != 7*time.Second || !errors.Is(changed, cause) {
		t.Errorf("the copy lacks what was added: %+v", changed)
	}
}

func TestAMissingPermissionIsNamed(t *testing.T) {
	t.Parallel()
	if f := fault.InsufficientScope("roles:write"); f.Permission != "roles:write" || !strings.Contains(f.Detail, "roles:write") {
		t.Errorf("%+v", f)
	}
}

func TestFindingsOnMembersAreAllCarried(t *testing.T) {
	t.Parallel()
	f := fault.InvalidFields(fault.Field{Pointer: "/name", Detail: "is too long"}, fault.Field{Pointer: "/kind", Detail: "is missing"})
	if f.Kind != fault.KindInvalid || len(f.Fields) != 2 || f.Fields[1].Pointer != "/kind" {
		t.Errorf("%+v", f)
	}
}

func TestWhatIsInUseIsToldByData(t *testing.T) {
	t.Parallel()
	by := fault.InUse{Count: 1, First: []fault.User{{Kind: "role", ID: "role_1", Name: "clerk"}}}
	f := fault.Used(by, "%s is used by %s", "it", "role_1")
	if f.Kind != fault.KindConflict || f.Code != fault.CodeInUse || f.Detail != "it is used by role_1" || f.InUse.Count != 1 || f.InUse.First[0].Name != "clerk" {
		t.Errorf("%+v", f)
	}
}
