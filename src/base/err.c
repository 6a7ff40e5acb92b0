/* Names and texts of the error vocabulary, generated from the one list in err.h. */
#include "base/err.h"

#include <errno.h>

#include "base/assert.h"

static const char *const names[] = {
#define X(name, text) #name,
    ERR_LIST(X)
#undef X
};

static const char *const texts[] = {
#define X(name, text) text,
    ERR_LIST(X)
#undef X
};

const char *err_name(enum err err)
{
    ASSERT((unsigned)err < ERR_COUNT);
    return names[err];
}

const char *err_text(enum err err)
{
    ASSERT((unsigned)err < ERR_COUNT);
    return texts[err];
}

enum err err_of_errno(int errnum)
{
    switch (errnum) {
    case 0:
        return ERR_OK;
    case ENOMEM:
        return ERR_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return ERR_NOSPACE;
    case ENOENT:
    case ENOTDIR:
        return ERR_NOENT;
    case EEXIST:
    case ENOTEMPTY:
        return ERR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_ACCESS;
    case EBUSY:
    case EADDRINUSE:
        return ERR_BUSY;
    case EAGAIN:
        return ERR_AGAIN;
    case EPIPE:
    case ECONNRESET:
        return ERR_CLOSED;
    case ECANCELED:
        return ERR_CANCELLED;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case EMFILE:
    case ENFILE:
    case EFBIG:
        return ERR_LIMIT;
    default:
        return ERR_IO;
    }
}
