// Compares gradient rules with finite differences.
#ifndef HUGOT_TESTS_GRADIENT_CHECK_H_
#define HUGOT_TESTS_GRADIENT_CHECK_H_

#include "tests/harness.h"

namespace hugot::test {

// When the operator of the case has a gradient rule: runs the case in float64 and compares the
// gradients of its floating-point operands with finite differences of the kernel itself, with fixed
// and with symbolic shapes, and those of fused operators with the others. The loss is a sum of all
// float64 outputs with random weights.
//
// Points where the function is not smooth (a kink, a jump, the end of its domain, steps because a
// part is computed in fewer bits) are found by comparing differences of different widths and sides
// and are left out. Failures are doctest checks. Looks at `samples` elements of each operand and
// returns how many of all could be compared.
int64_t check_gradients(const Case& test, int64_t samples = 6);

}  // namespace hugot::test

#endif  // HUGOT_TESTS_GRADIENT_CHECK_H_
