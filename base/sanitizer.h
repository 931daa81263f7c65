// Whether the address sanitizer watches this build, which makes it many times slower.
#ifndef HUGOT_BASE_SANITIZER_H_
#define HUGOT_BASE_SANITIZER_H_

// GCC says so by a macro, Clang by a feature.
#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

namespace hugot {

#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif

}  // namespace hugot

#endif  // HUGOT_BASE_SANITIZER_H_
