/* Prints docs/config.md, which comes from the tables of configuration keys:
 *
 *   build/release/tools/config_page >docs/config.md
 */
#include <stdio.h>

#include "meta/config_def.h"

int main(void)
{
    struct buf page;
    buf_init(&page, BUF_NO_LIMIT);
    config_def_print_markdown(&page);
    bool is_good = page.err == ERR_OK && fwrite(page.data, 1, page.len, stdout) == page.len &&
                   fflush(stdout) == 0;
    buf_deinit(&page);
    return is_good ? 0 : 1;
}
