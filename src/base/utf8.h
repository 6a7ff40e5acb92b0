/* UTF-8, as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/bytes.h"

bool utf8_is_valid(struct slice s);

#endif
