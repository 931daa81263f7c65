/* Marks what libhugot exports, and what it keeps for itself inside of exported classes. */
#ifndef HUGOT_EXPORT_H_
#define HUGOT_EXPORT_H_

#define HUGOT_API __attribute__((visibility("default")))
#define HUGOT_LOCAL __attribute__((visibility("hidden")))

#endif /* HUGOT_EXPORT_H_ */
