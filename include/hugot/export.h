/* Marks what libhugot exports. */
#ifndef HUGOT_EXPORT_H_
#define HUGOT_EXPORT_H_

#define HUGOT_API __attribute__((visibility("default")))

#endif /* HUGOT_EXPORT_H_ */
