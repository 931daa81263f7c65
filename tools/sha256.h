// SHA-256 (FIPS 180-4), to compare results without storing them.
#ifndef HUGOT_TOOLS_SHA256_H_
#define HUGOT_TOOLS_SHA256_H_

#include <string>
#include <string_view>

namespace hugot::tools {

// The digest in lower-case hexadecimal.
std::string sha256(std::string_view bytes);

}  // namespace hugot::tools

#endif  // HUGOT_TOOLS_SHA256_H_
